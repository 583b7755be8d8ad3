#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""status_socket_test.py BUILD: who may not open control.sock looks at everything through
status.sock, with the same commands, and is told where orders go. Meant for root; for anybody else
the socket is closed by its mode, and the same must be seen."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from control import Control, ControlError
from fake_ebbd import FakeEbbd
from tap import Tap

NOBODY = 65534
COMMAND_S = 20


class Stranger:
    """Runs ebbctl where control.sock is closed to it."""

    def __init__(self, ebbd: FakeEbbd, build: Path) -> None:
        self._ebbd = ebbd
        self._program = ebbd.folder / "ebbctl"  # the build folder may be closed, too
        shutil.copyfile(build / "hostd/ctl/ebbctl", self._program)
        self._program.chmod(0o755)
        ebbd.folder.chmod(0o755)
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:
            self._user = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        else:
            ebbd.control_socket.chmod(0)

    def run(self, *arguments: str, socket: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self._program), "--socket", str(socket or self._ebbd.control_socket), *arguments],
            capture_output=True, text=True, timeout=COMMAND_S, check=False, cwd="/", **self._user)


def check_looking(tap: Tap, stranger: Stranger) -> None:
    for arguments, expected in {
        ("list",): "web", ("show", "web"): "VM web: running", ("status",): "ebbd 0.1.0: running",
        ("metrics",): "ebb_build_info", ("events",): "something happened to web",
        ("list", "--json"): '"vms"',
    }.items():
        ran = stranger.run(*arguments)
        tap.check(ran.returncode == 0 and expected in ran.stdout and ran.stderr == "",
                  f"ebbctl {' '.join(arguments)} ({ran.returncode}) {ran.stderr[:200]!r}")


def check_orders(tap: Tap, ebbd: FakeEbbd, stranger: Stranger) -> None:
    for arguments in (["limit", "web", "1G"], ["swap-in", "web"], ["detach", "web"]):
        ran = stranger.run(*arguments)
        tap.check(ran.returncode == 3 and "Permission denied" in ran.stderr
                  and "--control-group" in ran.stderr,
                  f"ebbctl {' '.join(arguments)} is refused ({ran.returncode}) {ran.stderr!r}")
    ran = stranger.run("limit", "web", "1G", socket=ebbd.status_socket)
    tap.check(ran.returncode == 1 and f"orders go to {ebbd.control_socket}" in ran.stderr,
              f"status.sock says where orders go ({ran.returncode}) {ran.stderr!r}")
    try:
        Control(ebbd.status_socket).set_limit("web", 1 << 30)
        tap.check(False, "an order on status.sock is refused")
    except ControlError as error:
        tap.check("orders go to" in str(error), f"an order on status.sock is refused ({error})")
    tap.check(Control(ebbd.status_socket).vm("web")["limit_bytes"] == 256 << 20,
              "and nothing has changed")


def main() -> int:
    build = Path(sys.argv[1]).resolve()
    tap = Tap()
    with FakeEbbd(build) as ebbd:
        tap.check(ebbd.status_socket.stat().st_mode & 0o777 == 0o666,
                  "status.sock is for everybody")
        stranger = Stranger(ebbd, build)
        check_looking(tap, stranger)
        check_orders(tap, ebbd, stranger)
        ebbd.status_socket.unlink()
        ran = stranger.run("list")
        tap.check(ran.returncode == 3 and f"{ebbd.control_socket}: Permission denied" in ran.stderr,
                  f"without a status.sock control.sock is named ({ran.returncode}) {ran.stderr!r}")
    return tap.finish()


if __name__ == "__main__":
    sys.exit(main())
