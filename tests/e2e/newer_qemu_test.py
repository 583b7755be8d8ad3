#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""newer_qemu_test.py BUILD plugin|preload RELEASE: the same library and ebbd with a newer QEMU,
that of the backports for Debian RELEASE."""

import sys
from dataclasses import replace

import backport
import scene_check
from debian_package import PackageError
from preparation import Prepared
from qemu import version
from scene_check import SceneCheck, Stage
from sizes import MIB
from tap import skip_all

RAM_BYTES = 384 * MIB
LIMIT_BYTES = 96 * MIB
PARAMETERS = ("ebb.seed=1 ebb.fill_mib=180 ebb.hot_mib=8 ebb.disk_mib=16 ebb.fill_mib_s=200 "
              "ebb.sweep_mib_s=20")
WATCHED_S = 30
LOADER, RELEASE = sys.argv[2:]


def set_up(stage: Stage) -> Prepared:
    try:
        program = backport.fetch_qemu(RELEASE, stage.folders.root / "backport")
    except PackageError as error:
        stage.folders.remove()
        skip_all(f"no newer QEMU: {' '.join(str(error).split())[:300]}")
    vm = replace(stage.prepared.vm, qemu=str(program), loader=LOADER, guest_parameters=PARAMETERS)
    return replace(stage.prepared, vm=vm)


def check(guest: SceneCheck) -> None:
    guest.tap.note(f"QEMU {version(guest.scene.qemu.program)}")
    guest.wait_until_full()
    guest.wait_until_settled("most of it was taken away")
    before = guest.vm()
    guest.watch(WATCHED_S)
    after = guest.vm()
    guest.tap.check(after["barriers"] > before["barriers"] and after["barrier_mode"] == "qmp",
                    "with I/O barriers")
    guest.tap.check(after["pages_swapped_in"] > before["pages_swapped_in"], "and brought back")
    guest.check_nothing_wrong()


if __name__ == "__main__":
    sys.exit(scene_check.run(RAM_BYTES, LIMIT_BYTES, set_up, check, accel="tcg"))
