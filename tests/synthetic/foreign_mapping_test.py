#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""foreign_mapping_test.py BUILD: another process maps the memory of a swapped VM. It would read
zeros, so it may not open it, and if it has it otherwise ebbd brings everything back and lets the VM
go, with every byte right."""

import mmap
import os
import sys
from pathlib import Path

from foreign_memory import ram_file, take_ram
from host import CommandFailed, Host
from synthetic_vm import Settings, SyntheticVm
from tap import Tap, skip_all
from waiting import Late, wait_until

RAM_MIB = 96
LIMIT_MIB = 32
CHURN_PAGES = 2000
CHURN_S = 30
# ebbd looks every 5 s.
FOUND_S = 30


def map_memory_of(vm: SyntheticVm) -> mmap.mmap:
    fd = take_ram(vm.pid)
    try:
        return mmap.mmap(fd, RAM_MIB << 20, mmap.MAP_SHARED, mmap.PROT_READ)
    finally:
        os.close(fd)


def may_open(vm: SyntheticVm) -> bool:
    try:
        os.close(os.open(ram_file(vm.pid), os.O_RDONLY))
    except PermissionError:
        return False
    return True


def run(tap: Tap, host: Host) -> None:
    host.start_ebbd()
    vm = host.start_vm(Settings("mapped", RAM_MIB, seed=1))
    host.ebbctl("limit", vm.name, f"{LIMIT_MIB}M")
    vm.hammer()
    wait_until(lambda: host.show(vm)["pages_swapped_out"] >= CHURN_PAGES, CHURN_S, "swapping")
    tap.check(not may_open(vm), "another process may not open its memory")
    wait_until(lambda: f"process {os.getpid()} (python" in host.ebbd.log.read_text(), FOUND_S,
               "ebbd's log says who tried")
    with map_memory_of(vm):
        wait_until(lambda: not host.is_attached(vm), FOUND_S, "ebbd lets the VM go")
        tap.check("all of its memory is back" in host.ebbd.log.read_text(), "everything came back")
        tap.check(f"process {os.getpid()} maps" in host.ebbd.log.read_text(),
                  "ebbd's log names the process")
        tap.check(host.ebbctl("status")["detached_vms"] == 1, "ebbd counts it")
        report = vm.verify()
        tap.check(report["wrong"] == 0 and report["failed"] == 0 and "error" not in report,
                  "all of guest memory is right")
        tap.check(report["operations"] > 0, f"after {report['operations']} operations")
        # It tries again, and is told why not.
        wait_until(lambda: "refused: process" in vm.log.read_text(), FOUND_S, "a refusal")
        tap.check(True, "as long as the memory is mapped the VM is refused")
        tap.check(may_open(vm), "a VM that was let go may be opened")


def main() -> int:
    if os.geteuid() != 0:
        skip_all("needs root")
    tap = Tap()
    with Host(Path(sys.argv[1]).resolve()) as host:
        try:
            run(tap, host)
        except (Late, CommandFailed) as error:
            tap.check(False, str(error).replace("\n", " ")[:2000])
        status = tap.finish()
        if status != 0:
            tap.note(host.logs())
    return status


if __name__ == "__main__":
    sys.exit(main())
