#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""snapshot_test.py BUILD: QEMU reads all of an overcommitted guest's memory, for a dump and for a
snapshot, and overwrites all of it, when it goes back to that. In the end the guest boots another
kernel by kexec. It has two NUMA nodes, and its memory lies in a memfd for each."""

import hashlib
import subprocess
import sys
from dataclasses import replace

import disk_image
import guest_kernel
import scene_check
from monitor import Monitor
from preparation import GUEST_FOLDER, Prepared
from qemu import Disk
from scene_check import SceneCheck, Stage
from sizes import MIB

RAM_BYTES = 384 * MIB
LIMIT_BYTES = 96 * MIB
DISK_BYTES = 16 * MIB
PARAMETERS = ("ebb.seed=1 ebb.fill_mib=180 ebb.hot_mib=8 ebb.disk_mib=16 ebb.fill_mib_s=200 "
              "ebb.sweep_mib_s=20")
READ_S = 120
GOES_ON_S = 60
VERIFIED_BYTES = 64 * MIB
BACK_S = 30


def set_up(stage: Stage) -> Prepared:
    # A snapshot lies in a qcow2 image.
    image = stage.folders.adopt(disk_image.create([GUEST_FOLDER, stage.folders.root], DISK_BYTES,
                                                  stage.user))
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(image), str(DISK_BYTES)],
                   check=True)
    assert stage.prepared.vm.initramfs is not None
    guest_kernel.add_kexec(stage.prepared.vm.initramfs, stage.prepared.vm.kernel)
    vm = replace(stage.prepared.vm, disks=(Disk(image, "qcow2"),), numa_nodes=2,
                 guest_parameters=PARAMETERS)
    return replace(stage.prepared, vm=vm)


def check(guest: SceneCheck) -> None:
    guest.wait_until_full()
    guest.wait_until_settled("most of it was taken away, of two memfds")
    with guest.scene.qemu.monitor(timeout_s=READ_S) as monitor:
        check_dumps(guest, monitor)
        check_snapshot(guest, monitor)
        check_kexec(guest, monitor)
    guest.check_nothing_wrong()
    guest.tap.check(guest.scene.ebbd.control.status()["detached_vms"] == 0,
                    "nothing went wrong, says ebbd")


def check_dumps(guest: SceneCheck, monitor: Monitor) -> None:
    """Of a stopped guest: one with most of it out, one with all of it in."""
    control, name = guest.scene.ebbd.control, guest.scene.vm_name
    monitor.execute("stop")
    swapped = guest.vm()["swapped_bytes"]
    overcommitted = dump(guest, monitor, "overcommitted")
    control.set_limit(name, 0)
    control.swap_in(name)
    guest.wait(lambda: guest.vm()["swapped_bytes"] == 0, BACK_S, "without a limit it is all back")
    whole = dump(guest, monitor, "whole")
    guest.tap.check(overcommitted == whole,
                    f"a dump is right with {swapped // MIB} MiB swapped out")
    monitor.execute("cont")
    control.set_limit(name, LIMIT_BYTES)
    guest.wait_until_settled("most of it was taken away again")
    goes_on(guest, "after the dumps")


def dump(guest: SceneCheck, monitor: Monitor, name: str) -> str:
    """Its hash."""
    path = guest.scene.qemu.console_log.with_name(f"{name}.elf")
    monitor.execute("dump-guest-memory", paging=False, protocol=f"file:{path}")
    size = path.stat().st_size
    guest.tap.check(size > RAM_BYTES, f"a dump of the {name} guest ({size // MIB} MiB)")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    path.unlink()
    return digest


def check_snapshot(guest: SceneCheck, monitor: Monitor) -> None:
    hmp(guest, monitor, "savevm before")
    guest.wait_until_settled("after savevm it is held to its limit again")
    goes_on(guest, "after savevm")
    hmp(guest, monitor, "loadvm before")
    guest.read_console()
    guest.wait_until_settled("after loadvm it is held to its limit again")
    goes_on(guest, "after loadvm")


def check_kexec(guest: SceneCheck, monitor: Monitor) -> None:
    """A new kernel in the old one's memory, without a reset in between."""
    guest.wait_until_settled("most of it is out")
    swapped = guest.vm()["swapped_bytes"]
    guest.read_console()
    guest.report = None
    monitor.execute("system_powerdown")

    def fills_again() -> bool:
        guest.read_console()
        return guest.report is not None and guest.report.phase == "filling"
    guest.wait(fills_again, READ_S, "the guest boots another kernel")
    kept = guest.vm()["swapped_bytes"]
    guest.tap.check(kept > swapped // 2,
                    f"what was out stays out ({kept // MIB} of {swapped // MIB} MiB)")
    guest.wait_until_full()
    guest.wait_until_settled("with the new kernel it is held to its limit")
    goes_on(guest, "after kexec")


def hmp(guest: SceneCheck, monitor: Monitor, command: str) -> None:
    says = monitor.execute("human-monitor-command", **{"command-line": command})
    guest.tap.check(says == "", f"{command} ({says})")


def goes_on(guest: SceneCheck, when: str) -> None:
    guest.report = None  # what it says after loadvm begins anew
    guest.wait(lambda: verified(guest) > 0, GOES_ON_S, f"{when} the guest reports")
    before = verified(guest)
    guest.wait(lambda: verified(guest) > before + VERIFIED_BYTES, GOES_ON_S, f"{when} it goes on")


def verified(guest: SceneCheck) -> int:
    guest.read_console()
    return guest.report.verified_bytes if guest.report else 0


if __name__ == "__main__":
    sys.exit(scene_check.run(RAM_BYTES, LIMIT_BYTES, set_up, check))
