# SPDX-License-Identifier: MIT
"""ebbctl, as people use it."""

import subprocess
import sys
from pathlib import Path

from scene_check import SceneCheck

PROGRAM = Path(sys.argv[1]).resolve() / "hostd/ctl/ebbctl"
TIMEOUT_S = 90


def ebbctl(guest: SceneCheck, command: str) -> int:
    """The exit status of this order to the guest's VM."""
    name = guest.scene.vm_name
    ran = subprocess.run([str(PROGRAM), command, name,
                          "--socket", str(guest.scene.ebbd.control_socket)],
                         capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    guest.tap.note(f"ebbctl {command} {name}:\n{ran.stdout}{ran.stderr}")
    return ran.returncode
