#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""barrier_test.py [RELEASE]: ebbd's I/O barrier is QMP's `transaction` without actions, because it
begins by draining all disks. QEMU promises that nowhere: this must fail in a QEMU that does not.
The QEMU is the one in PATH, or that of the backports for Debian RELEASE."""

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import backport
from debian_package import PackageError
from folders import Folders
from monitor import Monitor, MonitorError
from process import Child, obey_ending_signals
from qemu import Disk, unprivileged_user, version
from sizes import MIB
from stalling_disk import StallingDisk
from tap import Tap, skip_all

START_S = 20
READ_S = 20       # the firmware comes to the disk's boot sector
UNDRAINED_S = 2   # a drain of nothing takes milliseconds
DRAINED_S = 8
STOP_S = 10
POLL_S = 0.05


def wait(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)  # style-ok(sleep): polls with a deadline
    return True


def barrier(monitor: Monitor, answers: list[str]) -> None:
    try:
        monitor.execute("transaction", actions=[])
        answers.append("done")
    except MonitorError as error:
        answers.append(str(error))


def check(tap: Tap, qemu: Child, socket: Path, disk: StallingDisk) -> None:
    if not wait(socket.exists, START_S):
        tap.check(False, f"QEMU starts: {qemu.death()}: {qemu.log.read_text(errors='replace')}")
        return
    with Monitor(socket) as monitor:
        answers: list[str] = []
        barrier(monitor, answers)
        tap.check(answers == ["done"], f"a barrier of idle disks is done ({answers})")
        disk.stall()
        monitor.execute("cont")
        tap.check(wait(disk.has_requests, READ_S), "the firmware reads from the disk")
        asking = threading.Thread(target=barrier, args=(monitor, answers), daemon=True)
        asking.start()
        asking.join(UNDRAINED_S)
        tap.check(len(answers) == 1, "a barrier waits for a request in flight")
        disk.heal()
        asking.join(DRAINED_S)
        tap.check(answers == ["done", "done"], f"and is done after it ({answers})")


def main() -> int:
    if os.geteuid() != 0:
        skip_all("needs root")
    obey_ending_signals()
    program = "qemu-system-x86_64"
    tap = Tap()
    user = unprivileged_user()
    folders = Folders(user)
    try:
        if len(sys.argv) > 1:
            program = str(backport.fetch_qemu(sys.argv[1], folders.root / "backport"))
        tap.note(f"QEMU {version(program)}")
        disk = StallingDisk(folders.root, MIB, user)
        try:
            socket = folders.qemu / "qmp.sock"
            qemu = Child("QEMU", [program, "-S", "-accel", "tcg", "-machine", "q35", "-m", "64M",
                                  "-nodefaults", "-display", "none",
                                  *Disk(disk.device).arguments(0),
                                  "-qmp", f"unix:{socket},server=on,wait=off"],
                         folders.log("qemu"), user)
            try:
                check(tap, qemu, socket, disk)
            finally:
                disk.heal()
                qemu.stop(STOP_S)
        finally:
            disk.remove()
    except PackageError as error:
        skip_all(f"no newer QEMU: {' '.join(str(error).split())[:300]}")
    finally:
        folders.remove()
    return tap.finish()


if __name__ == "__main__":
    sys.exit(main())
