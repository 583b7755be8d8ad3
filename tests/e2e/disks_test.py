#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""disks_test.py BUILD: a guest verifies disks of every kind, which write into its memory past its
page tables, while its pages are taken away; then one of the disks is slow, and stalls; then another
is given an I/O limit. What a barrier does to all of them at once must not be felt."""

import subprocess
import sys
import time
from dataclasses import replace

import disk_image
import scene_check
from monitor import Monitor, MonitorError
from preparation import GUEST_FOLDER, Prepared
from qemu import VM_NAME, Disk
from scene_check import SceneCheck, Stage
from sizes import KIB, MIB
from stalling_disk import StallingDisk

RAM_BYTES = 640 * MIB
RESIDENT_BYTES = 160 * MIB
DISK_BYTES = 16 * MIB
MEMORY_MIB = 300
# As fast as emulation goes.
RATES = "ebb.fill_mib_s=200 ebb.sweep_mib_s=40 ebb.hot_mib_s=16 ebb.disk_mib_s=8"
# Beside ./run's, which is raw, none, io_uring. aio=native goes with O_DIRECT only.
KINDS = [("raw", "none", "native"), ("raw", "none", "threads"),
         ("raw", "writeback", "io_uring"), ("raw", "writeback", "threads"),
         ("qcow2", "none", "native"), ("qcow2", "none", "io_uring"),
         ("qcow2", "writeback", "threads")]
RECLAIM_S = 20
HICCUPS = 3
HICCUP_S = 6           # a page can be found cold meanwhile
RECOVERY_S = 2
STALL_S = 30
STALL_SEEN_S = 3       # when a stall must have been noticed
MONITOR_MS = 1000      # under emulation QEMU's lock is busy
GUEST_SILENCE_S = 8
THROTTLED = "d0"
LIMIT_BYTES_S = 1 * MIB
LIMIT_SEEN_S = 15
LIMIT_REACHED_S = 4    # QEMU lets a moment's worth more through at first
LIMIT_MEASURED_S = 20
LIMIT_EXCESS = 1.02


class DisksCheck:
    def __init__(self) -> None:
        self._stalling: StallingDisk

    def set_up(self, stage: Stage) -> Prepared:
        self._stalling = StallingDisk(stage.folders.root, DISK_BYTES, stage.user)
        stage.cleanup.callback(self._stalling.remove)
        self._folders = stage.folders
        disks = [*stage.prepared.vm.disks]
        for form, cache, aio in KINDS:
            image = stage.folders.adopt(disk_image.create(
                [GUEST_FOLDER, stage.folders.root], DISK_BYTES, stage.user))
            if form == "qcow2":
                subprocess.run(["qemu-img", "create", "-q", "-f", form, str(image),
                                str(DISK_BYTES)], check=True)
            disks.append(Disk(image, form, cache, aio))
        disks.append(Disk(self._stalling.device))
        parameters = (f"ebb.seed=1 ebb.fill_mib={MEMORY_MIB} ebb.hot_mib=32 {RATES} "
                      f"ebb.disks={len(disks)} ebb.disk_mib={DISK_BYTES // MIB}")
        vm = replace(stage.prepared.vm, disks=tuple(disks), guest_parameters=parameters)
        return replace(stage.prepared, vm=vm)

    def check(self, guest: SceneCheck) -> None:
        guest.wait_until_full()
        # QEMU has them open.
        self._stalling.release()
        self._folders.remove_adopted()
        with guest.scene.qemu.monitor() as monitor:
            check_reclaim(guest)
            self._check_stall(guest, monitor)
            # Not before: the barrier that meets such a moment puts the next one off for minutes
            # (decision 0004).
            self._check_slow_disk(guest)
            check_limit(guest, monitor)
        guest.check_nothing_wrong()

    def _check_slow_disk(self, guest: SceneCheck) -> None:
        for _ in range(HICCUPS):
            self._stalling.stall()
            guest.watch(HICCUP_S)
            self._stalling.heal()
            guest.watch(RECOVERY_S)
        # Whoever takes a page without a barrier takes it under a read.
        guest.tap.check(guest.report.wrong_bytes == 0, "no byte was wrong where reads take seconds")

    def _check_stall(self, guest: SceneCheck, monitor: Monitor) -> None:
        latencies_ms: list[float] = []
        self._stalling.stall()
        try:
            guest.watch(STALL_SEEN_S)
            before, verified = guest.vm(), guest.report.verified_bytes
            guest.watch(STALL_S - STALL_SEEN_S, lambda: latencies_ms.append(answer_ms(monitor)))
            after = guest.vm()
        finally:
            self._stalling.heal()
        guest.tap.note(f"{after['barriers'] - before['barriers']} barriers, the monitor answered "
                       f"within {max(latencies_ms):.0f} ms, the guest was silent for at most "
                       f"{guest.longest_silence_s:.1f} s")
        guest.tap.check(after["barriers"] == before["barriers"], "no barrier while a disk stalls")
        guest.tap.check(max(latencies_ms) < MONITOR_MS, "the monitor answers while a disk stalls")
        guest.tap.check(guest.longest_silence_s < GUEST_SILENCE_S
                        and guest.report.verified_bytes > verified,
                        "the guest goes on while a disk stalls")
        # A slow one before, at the end of a hiccup, puts the next one off (decision 0004).
        put_off_s = after["barrier_interval_ms"] / 1000
        guest.wait(lambda: guest.vm()["barriers"] > after["barriers"], STALL_S + put_off_s,
                   "barriers begin again when it works again")


def check_reclaim(guest: SceneCheck) -> None:
    before, sweeps = guest.vm(), guest.report.disk_sweeps
    guest.watch(RECLAIM_S)
    after = guest.vm()
    swapped_out = after["pages_swapped_out"] - before["pages_swapped_out"]
    guest.tap.note(f"{swapped_out} pages swapped out, {after['barriers']} barriers, the disks read "
                   f"{guest.report.disk_sweeps - sweeps} times")
    guest.tap.check(swapped_out > 5000, "pages were taken away all the time")
    guest.tap.check(after["barriers"] > before["barriers"], "with I/O barriers")
    guest.tap.check(guest.report.disk_sweeps - sweeps >= len(KINDS),
                    "the disks were read all the time")


def check_limit(guest: SceneCheck, monitor: Monitor) -> None:
    limits = dict.fromkeys(("bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"), 0)
    monitor.execute("block_set_io_throttle", device=THROTTLED, bps=LIMIT_BYTES_S, **limits)
    guest.wait(lambda: guest.vm()["barrier_mode"] == "grace", LIMIT_SEEN_S,
               "a VM with an I/O limit gets no more barriers")
    # Without a limit on its memory, which would slow it down while nothing can be taken, but with a
    # wish for barriers that a drain would fulfil at the cost of the limit on I/O.
    control = guest.scene.ebbd.control
    control.set_limit(VM_NAME, RAM_BYTES)
    control.swap_out(VM_NAME, RESIDENT_BYTES)
    guest.watch(LIMIT_REACHED_S)
    started, before = time.monotonic(), moved_bytes(monitor)
    guest.watch(LIMIT_MEASURED_S)
    moved = moved_bytes(monitor) - before
    share = moved / (LIMIT_BYTES_S * (time.monotonic() - started))
    guest.tap.note(f"{share:.3f} of the limit of {LIMIT_BYTES_S // KIB} KiB/s")
    guest.tap.check(0.5 < share, "the guest makes use of its limit")
    guest.tap.check(share < LIMIT_EXCESS, "an I/O limit is kept to")


def answer_ms(monitor: Monitor) -> float:
    started = time.monotonic()
    monitor.execute("query-status")
    return (time.monotonic() - started) * 1000


def moved_bytes(monitor: Monitor) -> int:
    for device in monitor.execute("query-blockstats"):
        if device.get("device") == THROTTLED:
            return device["stats"]["rd_bytes"] + device["stats"]["wr_bytes"]
    raise MonitorError(f"QEMU knows no {THROTTLED}")


if __name__ == "__main__":
    disks = DisksCheck()
    sys.exit(scene_check.run(RAM_BYTES, RESIDENT_BYTES, disks.set_up, disks.check))
