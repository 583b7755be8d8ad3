#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""cpr_test.py BUILD: a newer QEMU hands its guest's memory to another QEMU as it lies, in which
swapped pages would read as zeros (cpr-transfer). QEMU refuses that itself in a VM that was not made
for it, and ebbd refuses a VM that was."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import backport
import scene_check
from debian_package import PackageError
from monitor import Monitor, MonitorError
from preparation import Prepared
from qemu import version
from scene_check import SceneCheck, Stage
from sizes import MIB
from tap import skip_all

RAM_BYTES = 320 * MIB
LIMIT_BYTES = 96 * MIB
PARAMETERS = ("ebb.seed=1 ebb.fill_mib=120 ebb.hot_mib=4 ebb.disk_mib=8 ebb.fill_mib_s=200 "
              "ebb.sweep_mib_s=40")
MADE_FOR_IT = ",aux-ram-share=on"
ITS_RAM_BYTES = 192 * MIB
ITS_PARAMETERS = "ebb.seed=1 ebb.fill_mib=8 ebb.hot_mib=1 ebb.disk_mib=0"
# In these the kernel shows that a VM was made for it, where the command line does not.
ITS_FILES = ("/memfd:pc.bios", "/memfd:pc.rom", "/memfd:/rom@etc/acpi/tables")
REFUSED_S = 20
WATCHED_S = 15


def set_up(stage: Stage) -> Prepared:
    try:
        program = backport.fetch_qemu("bookworm", stage.folders.root / "backport")
    except PackageError as error:
        stage.folders.remove()
        skip_all(f"no newer QEMU: {' '.join(str(error).split())[:300]}")
    vm = replace(stage.prepared.vm, qemu=str(program), guest_parameters=PARAMETERS)
    return replace(stage.prepared, vm=vm)


def check(guest: SceneCheck) -> None:
    guest.tap.note(f"QEMU {version(guest.scene.qemu.program)}")
    guest.wait_until_full()
    guest.wait_until_settled("most of it was taken away")
    with guest.scene.qemu.monitor() as monitor:
        refusal = hand_over(monitor, guest.scene.qemu.console_log.parent)
        guest.tap.check("not compatible with CPR" in refusal,
                        f"QEMU refuses to hand over an attached VM ({refusal})")
        guest.tap.check(monitor.execute("query-status")["status"] == "running", "which runs on")
    check_made_for_it(guest)
    guest.watch(WATCHED_S)
    guest.check_nothing_wrong()


def hand_over(monitor: Monitor, folder: Path) -> str:
    """QEMU's refusal. Nobody listens: one that does not mind fails to connect."""
    channels = [{"channel-type": kind, "addr": {"transport": "socket", "type": "unix",
                                                "path": str(folder / f"nobody-{kind}.sock")}}
                for kind in ("main", "cpr")]
    monitor.execute("migrate-set-parameters", mode="cpr-transfer")
    try:
        monitor.execute("migrate", channels=channels)
    except MonitorError as error:
        return str(error)
    finally:
        monitor.execute("migrate-set-parameters", mode="normal")
    return ""


def check_made_for_it(guest: SceneCheck) -> None:
    other = guest.scene.start_heir("made-for-it", incoming=False, machine=MADE_FOR_IT, disks=(),
                                   ram_bytes=ITS_RAM_BYTES, guest_parameters=ITS_PARAMETERS)
    guest.scene.callback(lambda: other.death() or other.kill())
    guest.wait(lambda: other.console_log.exists(), REFUSED_S, "a VM that was made for it starts")
    log = guest.scene.ebbd.log
    why = f"vm made-for-it (process {other.pid}): not attached: it can hand its memory over"
    guest.wait(lambda: why in log.read_text(), REFUSED_S, "ebbd refuses it")
    with other.monitor() as monitor:
        refusal = hand_over(monitor, other.console_log.parent)
    guest.tap.check("Failed to connect" in refusal, f"as QEMU would hand that over ({refusal})")
    files = [os.readlink(file) for file in Path(f"/proc/{other.pid}/fd").iterdir()]
    guest.tap.check(all(any(file.startswith(name) for file in files) for name in ITS_FILES),
                    "and the kernel shows it")


if __name__ == "__main__":
    sys.exit(scene_check.run(RAM_BYTES, LIMIT_BYTES, set_up, check, accel="tcg"))
