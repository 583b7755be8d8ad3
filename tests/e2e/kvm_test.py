#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""kvm_test.py BUILD: faults come from KVM instead of QEMU's threads. The guest is one without an
operating system (tests/guest/bare/bare.cc): it runs wherever /dev/kvm opens, also where that
boots no Linux."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import accelerator
import scene_check
from preparation import Prepared
from process import ROOT, User
from qemu import unprivileged_user
from scene_check import SceneCheck, Stage
from sizes import MIB
from tap import skip_all

RAM_BYTES = 80 * MIB
LIMIT_BYTES = 32 * MIB
SWEEP_S = 240  # a KVM that emulates real mode does one MiB/s
# The firmware sees KVM, too: none of a 64-bit CPU's features is needed.
KVM = accelerator.Accelerator("kvm", "the test is about it", ("-accel", "kvm"))
GUEST = Path(sys.argv[1]).resolve() / "tests/guest/bare/bare"


def set_up(stage: Stage) -> Prepared:
    vm = replace(stage.prepared.vm, accelerator=KVM, kernel=stage.folders.stage(GUEST),
                 initramfs=None, disks=())
    return replace(stage.prepared, vm=vm)


def check(guest: SceneCheck) -> None:
    guest.wait_until_full()
    guest.wait_until_settled("most of it was taken away")
    before = guest.vm()
    guest.wait(lambda: has_swept(guest), SWEEP_S, "the guest verified all of its memory")
    after = guest.vm()
    guest.tap.note(f"{after['pages_swapped_in'] - before['pages_swapped_in']} pages swapped in, "
                   f"{after['resident_bytes'] // MIB} MiB resident")
    guest.tap.check(after["pages_swapped_in"] > before["pages_swapped_in"],
                    "pages come back when the guest touches them")
    guest.tap.check(after["resident_bytes"] <= scene_check.OVERSHOOT * LIMIT_BYTES,
                    "the limit holds")
    guest.check_nothing_wrong()


def has_swept(guest: SceneCheck) -> bool:
    guest.read_console()
    return guest.report is not None and guest.report.sweeps > 0


def user() -> User:
    """Who may open /dev/kvm. Skips the test if there is nobody."""
    try:
        os.close(os.open(accelerator.KVM_DEVICE, os.O_RDWR))
    except OSError as error:
        skip_all(f"{accelerator.KVM_DEVICE} does not open here ({error.strerror})")
    nobody = unprivileged_user()
    return nobody if accelerator.device_obstacle(nobody) is None else ROOT


if __name__ == "__main__":
    sys.exit(scene_check.run(RAM_BYTES, LIMIT_BYTES, set_up, check, user(), accel="tcg"))
