#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""disks_test.py BUILD: a guest verifies disks of every kind, which write into its memory past its
page tables, while its pages are taken away; then one of the disks is slow, and stalls; then another
is given an I/O limit. What a barrier does to all of them at once must not be felt."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import disk_image
import options
from folders import Folders
from guest import GuestReport
from monitor import Monitor, MonitorError
from preparation import GUEST_FOLDER, Prepared, prepare
from process import User
from qemu import VM_NAME, Disk, unprivileged_user
from scene import Scene, StartError
from sizes import KIB, MIB
from stalling_disk import StallingDisk
from tap import Tap, skip_all

DISK_BYTES = 16 * MIB
RAM_BYTES = 640 * MIB
RESIDENT_BYTES = 160 * MIB
MEMORY_MIB = 300
# Beside ./run's, which is raw, none, io_uring. aio=native goes with O_DIRECT only.
KINDS = [("raw", "none", "native"), ("raw", "none", "threads"),
         ("raw", "writeback", "io_uring"), ("raw", "writeback", "threads"),
         ("qcow2", "none", "native"), ("qcow2", "none", "io_uring"),
         ("qcow2", "writeback", "threads")]
FULL_S = 120
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
POLL_S = 0.5


class Run:
    """One guest with all the disks."""

    def __init__(self, tap: Tap, scene: Scene) -> None:
        self._tap = tap
        self._scene = scene
        self.report: GuestReport | None = None
        self.longest_silence_s = 0.0
        self._heard = time.monotonic()

    def read_console(self) -> None:
        now = time.monotonic()
        for report in self._scene.console.read():
            self.report = report
            self._heard = now
        self.longest_silence_s = max(self.longest_silence_s, now - self._heard)

    def is_running(self) -> bool:
        self.read_console()
        return self.report is not None and self.report.phase == "running"

    def watch(self, seconds: float, each: Callable[[], None] = lambda: None) -> None:
        self.longest_silence_s = 0.0
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.read_console()
            each()
            time.sleep(POLL_S)  # style-ok(sleep): looks for as long as it was asked to

    def vm(self) -> dict[str, Any]:
        return self._scene.ebbd.control.vm(VM_NAME)

    def wait(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        try:
            self._scene.wait(condition, seconds, what)
        except StartError as error:
            self._tap.note(str(error))
        self._tap.check(condition(), what)

    def reclaim(self) -> None:
        before, sweeps = self.vm(), self.report.disk_sweeps
        self.watch(RECLAIM_S)
        after = self.vm()
        swapped_out = after["pages_swapped_out"] - before["pages_swapped_out"]
        self._tap.note(f"{swapped_out} pages swapped out, {after['barriers']} barriers, the "
                       f"disks read {self.report.disk_sweeps - sweeps} times")
        self._tap.check(swapped_out > 5000, "pages were taken away all the time")
        self._tap.check(after["barriers"] > before["barriers"], "with I/O barriers")
        self._tap.check(self.report.disk_sweeps - sweeps >= len(KINDS),
                        "the disks were read all the time")

    def hiccup(self, disk: StallingDisk) -> None:
        """Reads take seconds: whoever takes a page without a barrier takes it under one."""
        for _ in range(HICCUPS):
            disk.stall()
            self.watch(HICCUP_S)
            disk.heal()
            self.watch(RECOVERY_S)
        self._tap.check(self.report.wrong_bytes == 0, "no byte was wrong where reads take seconds")

    def stall(self, disk: StallingDisk, monitor: Monitor) -> None:
        disk.stall()
        try:
            self.watch(STALL_SEEN_S)
            before, verified = self.vm(), self.report.verified_bytes
            latencies_ms = []
            self.watch(STALL_S - STALL_SEEN_S,
                       lambda: latencies_ms.append(_answer_ms(monitor)))
            after = self.vm()
        finally:
            disk.heal()
        self._tap.note(f"{after['barriers'] - before['barriers']} barriers, the monitor answered "
                       f"within {max(latencies_ms):.0f} ms, the guest was silent for at most "
                       f"{self.longest_silence_s:.1f} s")
        self._tap.check(after["barriers"] == before["barriers"],
                        "no barrier while a disk stalls")
        self._tap.check(max(latencies_ms) < MONITOR_MS, "the monitor answers while a disk stalls")
        self._tap.check(self.longest_silence_s < GUEST_SILENCE_S
                        and self.report.verified_bytes > verified,
                        "the guest goes on while a disk stalls")
        self.wait(lambda: self.vm()["barriers"] > after["barriers"], STALL_S,
                  "barriers begin again when it works again")

    def throttle(self, monitor: Monitor) -> None:
        limits = dict.fromkeys(("bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"), 0)
        monitor.execute("block_set_io_throttle", device=THROTTLED, bps=LIMIT_BYTES_S, **limits)
        self.wait(lambda: self.vm()["barrier_mode"] == "grace", LIMIT_SEEN_S,
                  "a VM with an I/O limit gets no more barriers")
        # Without a limit on its memory, which would slow it down while nothing can be taken, but
        # with a wish for barriers that a drain would fulfil at the cost of the limit on I/O.
        control = self._scene.ebbd.control
        control.set_limit(VM_NAME, RAM_BYTES)
        control.swap_out(VM_NAME, RESIDENT_BYTES)
        self.watch(LIMIT_REACHED_S)
        started, before = time.monotonic(), _moved_bytes(monitor)
        self.watch(LIMIT_MEASURED_S)
        moved = _moved_bytes(monitor) - before
        share = moved / (LIMIT_BYTES_S * (time.monotonic() - started))
        self._tap.note(f"{share:.3f} of the limit of {LIMIT_BYTES_S // KIB} KiB/s")
        self._tap.check(0.5 < share, "the guest makes use of its limit")
        self._tap.check(share < LIMIT_EXCESS, "an I/O limit is kept to")


def _answer_ms(monitor: Monitor) -> float:
    started = time.monotonic()
    monitor.execute("query-status")
    return (time.monotonic() - started) * 1000


def _moved_bytes(monitor: Monitor) -> int:
    for device in monitor.execute("query-blockstats"):
        if device.get("device") == THROTTLED:
            return device["stats"]["rd_bytes"] + device["stats"]["wr_bytes"]
    raise MonitorError(f"QEMU knows no {THROTTLED}")


def make_disks(folders: Folders, user: User) -> tuple[Disk, ...]:
    disks = []
    for form, cache, aio in KINDS:
        image = folders.adopt(disk_image.create([GUEST_FOLDER, folders.root], DISK_BYTES, user))
        if form == "qcow2":
            subprocess.run(["qemu-img", "create", "-q", "-f", form, str(image), str(DISK_BYTES)],
                           check=True)
        disks.append(Disk(image, form, cache, aio))
    return tuple(disks)


def with_disks(prepared: Prepared, more: tuple[Disk, ...]) -> Prepared:
    disks = (*prepared.vm.disks, *more)
    # As fast as emulation goes.
    rates = "ebb.fill_mib_s=200 ebb.sweep_mib_s=40 ebb.hot_mib_s=16 ebb.disk_mib_s=8"
    parameters = (f"ebb.seed=1 ebb.fill_mib={MEMORY_MIB} ebb.hot_mib=32 {rates} "
                  f"ebb.disks={len(disks)} ebb.disk_mib={DISK_BYTES // MIB}")
    return replace(prepared, vm=replace(prepared.vm, disks=disks, guest_parameters=parameters))


def run(tap: Tap, build: str, folders: Folders) -> None:
    user = unprivileged_user()
    arguments = options.parse(["--build", build, "--ram", str(RAM_BYTES),
                               "--limit", str(RESIDENT_BYTES)])
    stalling = StallingDisk(folders.root, DISK_BYTES, user)
    try:
        prepared = prepare(arguments, folders, user)
        disks = (*make_disks(folders, user), Disk(stalling.device))
        scene = Scene(with_disks(prepared, disks), folders, user)
        try:
            scene.start_ebbd()
            scene.start_vm()
            scene.attach()
            steps(tap, Run(tap, scene), scene, folders, stalling)
        finally:
            for complaint in scene.close():
                tap.check(False, complaint)
    finally:
        stalling.remove()


def steps(tap: Tap, run: Run, scene: Scene, folders: Folders, stalling: StallingDisk) -> None:
    run.wait(run.is_running, FULL_S, "the guest filled its memory and its disks")
    if run.report is None:
        return
    stalling.release()
    folders.remove_adopted()
    with scene.qemu.monitor() as monitor:
        run.reclaim()
        run.hiccup(stalling)
        run.stall(stalling, monitor)
        run.throttle(monitor)
    run.read_console()
    tap.note(f"{run.report.verified_bytes // MIB} MiB verified")
    tap.check(run.report.wrong_bytes == 0 and not scene.console.wrong_pages, "no byte was wrong")
    tap.note("\n".join(scene.console.wrong_pages))
    tap.check(scene.console.failure is None, f"nothing failed ({scene.console.failure})")
    tap.check(run.vm()["state"] == "running", "the VM is neither held nor detached")


def main() -> int:
    if os.geteuid() != 0:
        skip_all("needs root")
    tap = Tap()
    folders = Folders(unprivileged_user())
    try:
        run(tap, sys.argv[1], folders)
    finally:
        for log in folders.logs():
            if log.name != "console.log":
                tap.note(f"{log.name}:\n{log.read_text(errors='replace')}")
        folders.remove()
    return tap.finish()


if __name__ == "__main__":
    sys.exit(main())
