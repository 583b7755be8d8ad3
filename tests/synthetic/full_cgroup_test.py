#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""full_cgroup_test.py BUILD [--seed N]: a VM is swapped out, and then its memory cgroup has no room
for what it touches: UFFDIO_COPY answers ENOMEM. ebbd makes room by other pages of the VM; every
touch is answered in the end, no byte is wrong, and nobody is killed."""

import argparse
import os
import random
import sys
from pathlib import Path

from host import CommandFailed, Host
from memory_cgroup import MemoryCgroup, why_not
from synthetic_vm import Settings, SyntheticVm
from tap import Tap, skip_all
from waiting import Late, wait_until

RAM_MIB = 96
RAM_BYTES = RAM_MIB << 20
SWAP_OUT_TO_MIB = 32
# What the cgroup has beyond what is in it once the VM is swapped out.
ROOM_BYTES = 8 << 20
SWAP_OUT_S = 30


def swap_out(host: Host, vm: SyntheticVm) -> None:
    host.ebbctl("swap-out", vm.name, "--to", f"{SWAP_OUT_TO_MIB}M", "--no-wait")
    wait_until(lambda: host.show(vm)["swapped_bytes"] >= RAM_BYTES // 2, SWAP_OUT_S,
               f"{vm.name} is swapped out")


def touch_everything(tap: Tap, host: Host, cgroup: MemoryCgroup, vm: SyntheticVm,
                     limit: str) -> None:
    """More than its cgroup holds."""
    host.ebbctl("limit", vm.name, limit)
    before = host.show(vm)
    full_before = cgroup.times_full()
    report = vm.verify()
    shown = host.show(vm)
    tap.note(f"limit {limit}: {shown['pages_swapped_in'] - before['pages_swapped_in']} pages in, "
             f"{shown['pages_swapped_out'] - before['pages_swapped_out']} out, the cgroup was full "
             f"{cgroup.times_full() - full_before} times")
    tap.check(report["wrong"] == 0 and report["failed"] == 0 and "error" not in report,
              f"limit {limit}: all of guest memory is right")
    tap.check(shown["pages_swapped_out"] > before["pages_swapped_out"],
              f"limit {limit}: pages went out for those that came in")


def run(tap: Tap, host: Host, cgroup: MemoryCgroup, seed: int) -> None:
    host.start_ebbd()
    vm = host.start_vm(Settings("crowded", RAM_MIB, seed, keep_own_memory=True,
                                prepare=cgroup.join()))
    swap_out(host, vm)
    cgroup.limit(cgroup.used_bytes() + ROOM_BYTES)
    # With a reserve that is ready from the beginning, and with no target to prepare one for.
    touch_everything(tap, host, cgroup, vm, f"{RAM_MIB}M")
    touch_everything(tap, host, cgroup, vm, "none")
    tap.check(cgroup.times_full() > 0, "the cgroup was full")
    tap.check("had no memory" in host.ebbd.log.read_text(), "ebbd's log says why threads waited")
    tap.check(cgroup.killed() == 0, "the kernel has killed nobody")
    cgroup.limit(2 * RAM_BYTES)
    host.ebbctl("swap-in", vm.name)
    report = vm.verify()
    tap.check(report["wrong"] == 0 and "error" not in report,
              "with room for everything, everything is back")
    vm.quit()
    tap.check(host.ebbd.death() is None, "ebbd survived")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=Path)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    arguments = parser.parse_args()
    if why_not():
        skip_all(why_not())
    tap = Tap()
    tap.note(f"seed {arguments.seed}")
    with MemoryCgroup(f"ebb-full-cgroup-{os.getpid()}") as cgroup, \
            Host(arguments.build.resolve()) as host:
        tap.note(f"memory cgroup of version {2 if cgroup.is_version_2 else 1}")
        try:
            run(tap, host, cgroup, arguments.seed)
        except (Late, CommandFailed) as error:
            tap.check(False, str(error).replace("\n", " ")[:2000])
        status = tap.finish()
        if status != 0:
            tap.note(host.logs())
    return status


if __name__ == "__main__":
    sys.exit(main())
