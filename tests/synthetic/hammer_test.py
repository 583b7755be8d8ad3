#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""hammer_test.py BUILD plugin|preload [OPTIONS]: a synthetic VM hammers its memory while Ebb takes
it away and brings it back; ebbd stops and starts again meanwhile. Not a byte may be wrong, and
nothing may hang."""

import argparse
import itertools
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from host import STOP_S, CommandFailed, Host
from synthetic_vm import Report, Settings, SyntheticVm
from tap import Tap, skip_all
from waiting import Late, wait_until

RAM_MIB = 384
RAM_BYTES = RAM_MIB << 20
LIMIT_MIB = 96
SWAP_OUT_TO_MIB = 64


@dataclass(frozen=True)
class Step:
    """One thing an operator does to the VM, and when it has gone far enough."""
    commands: list[list[str]]
    is_done: Callable[[dict[str, Any]], bool]
    seconds: float  # at most


# A thread that nobody wakes is found stuck before its page comes back with all the others.
CHURN = [
    Step([["limit", "none"], ["swap-out", "--to", f"{SWAP_OUT_TO_MIB}M", "--no-wait"]],
         lambda vm: vm["swapped_bytes"] > RAM_BYTES * 3 // 4, 5),
    Step([["limit", f"{LIMIT_MIB}M"]], lambda vm: False, 5.5),
    Step([["limit", f"{LIMIT_MIB * 2}M"], ["swap-in", "--no-wait"]],
         lambda vm: vm["resident_bytes"] > (LIMIT_MIB * 2 - 16) << 20, 2),
    Step([["limit", "none"], ["swap-in", "--no-wait"]],
         lambda vm: vm["swapped_bytes"] < RAM_BYTES // 10, 5),
]

LOOK_S = 0.25

# Rounds of slow requests. Pages cool for 0.5 s before they are guarded.
SLOW_ROUNDS = 1
SLOW_MS = 4500
SLOW_S = 20

SWAP_OUT_S = 10

AGAIN_S = 30
AGAIN_SWAP_OUTS = 2000


class Hammering:
    """Looks at the VM and at ebbd while the VCPUs work; ends the test when something is wrong."""

    def __init__(self, host: Host, vm: SyntheticVm) -> None:
        self.host = host
        self.vm = vm
        self.report: Report = {}

    def look(self) -> Report:
        time.sleep(LOOK_S)  # style-ok(sleep): the pace of looking; nothing is ordered by it
        self.report = self.vm.report()
        if self.report["wrong"] or self.report["failed"] or self.report["stuck"]:
            raise Late(f"the VM is broken: {self.report}")
        death = self.host.ebbd.death()
        if death not in (None, "ebbd exited with status 0"):
            raise Late(death)
        return self.report

    def look_until(self, happened: Callable[[], bool], seconds: float) -> None:
        """Or until the time is over: how fast ebbd gets there depends on the machine."""
        deadline = time.monotonic() + seconds
        while not happened() and time.monotonic() < deadline:
            self.look()


def churn(hammering: Hammering, operations: int, swaps: int, seconds: float) -> dict[str, Any]:
    """Until there was enough of everything, or the time is over. ebbd's last word on the VM."""
    host, vm = hammering.host, hammering.vm
    began = time.monotonic()
    for step in itertools.cycle(CHURN):
        step_began = time.monotonic()
        for command, *rest in step.commands:
            host.ebbctl(command, vm.name, *rest)
        while True:
            report = hammering.look()
            shown = host.show(vm)
            now = time.monotonic()
            enough = (report["operations"] >= operations and shown["pages_swapped_out"] >= swaps
                      and shown["pages_swapped_in"] >= swaps
                      and all(report["by_operation"].values()))
            if enough or now - began > seconds:
                return shown | {"seconds": now - began}
            if step.is_done(shown) or now - step_began > step.seconds:
                break
    raise AssertionError("not reached")


def check_churn(tap: Tap, report: Report, shown: dict[str, Any], arguments: Any) -> None:
    seconds = shown["seconds"]
    tap.note(f"seed {arguments.seed}: {report['operations'] / seconds:.0f} operations/s, "
             f"{shown['pages_swapped_out']} pages swapped out, {shown['pages_swapped_in']} in, "
             f"{seconds:.0f} s")
    tap.note(f"longest operation {report['longest_ms']} ms")
    tap.note(f"operations: {report['by_operation']}")
    tap.note(f"ebbd: { {key: value for key, value in shown.items() if value} }")
    tap.check(report["operations"] >= arguments.operations,
              f"{arguments.operations} operations on pages")
    tap.check(shown["pages_swapped_out"] >= arguments.swaps, f"{arguments.swaps} swap-outs")
    tap.check(shown["pages_swapped_in"] >= arguments.swaps, f"{arguments.swaps} swap-ins")
    tap.check(all(report["by_operation"].values()), "every kind of operation was done")
    tap.check(report["disk_folder"] != "", f"direct I/O went to {report['disk_folder']}")
    tap.check(shown["pages_discarded"] > 0, "swapped pages were discarded")
    tap.check(shown["barriers"] > 0 and report["drains"] > 0, "there were I/O barriers")
    tap.check(shown["pages_given_back"] > 0, "pages were taken back before they were dropped")


def slow_device(tap: Tap, hammering: Hammering) -> None:
    """Requests that are in flight for longer than a page takes to look cold. Afterwards ebbd leaves
    the VM's disks alone for a hundred times as long, so that this comes last."""
    host, vm = hammering.host, hammering.vm
    host.ebbctl("limit", vm.name, "none")
    host.ebbctl("swap-in", vm.name, "--no-wait")
    hammering.look_until(lambda: host.show(vm)["swapped_bytes"] < RAM_BYTES // 10, SLOW_S)
    vm.slow(SLOW_ROUNDS, SLOW_MS)
    host.ebbctl("swap-out", vm.name, "--to", f"{SWAP_OUT_TO_MIB}M", "--no-wait")
    wait_until(lambda: hammering.look()["slow_rounds_to_do"] == 0, SLOW_S, "the slow requests end")
    report = hammering.look()
    tap.note(f"slow device: {report['slow_pages']} pages, "
             f"{report['drains_that_waited']} of {report['drains']} barriers waited for the disk")
    tap.check(report["slow_pages"] > 0, "pages came in over a slow device")
    tap.check(report["drains_that_waited"] > 0, "a barrier waited for it")


def stop_ebbd(tap: Tap, hammering: Hammering) -> None:
    host, vm = hammering.host, hammering.vm
    host.ebbctl("limit", vm.name, "none")
    host.ebbctl("swap-out", vm.name, "--to", f"{SWAP_OUT_TO_MIB}M", "--no-wait")
    hammering.look_until(lambda: host.show(vm)["swapped_bytes"] > RAM_BYTES * 3 // 4, SWAP_OUT_S)
    out = host.show(vm)["swapped_bytes"] >> 20
    began = time.monotonic()
    os.kill(host.ebbd.pid, signal.SIGTERM)
    wait_until(lambda: bool(hammering.look()) and host.ebbd.death() is not None, STOP_S,
               "ebbd has stopped")
    tap.note(f"the clean stop brought about {out} MiB back in {time.monotonic() - began:.1f} s")
    log = host.ebbd.log.read_text()
    tap.check(host.ebbd.death() == "ebbd exited with status 0", "ebbd stopped cleanly")
    tap.check("stopping: bringing " in log and "all of its memory is back" in log,
              "its log says how the pages came back")
    wait_until(lambda: f"VM {vm.name} released" in vm.log.read_text(), STOP_S, "the release")
    tap.check(True, "the library was released")
    report = vm.verify()
    tap.check(report["wrong"] == 0 and "error" not in report,
              "without ebbd, all of guest memory is right")
    vm.hammer()


def start_again(tap: Tap, hammering: Hammering) -> None:
    host, vm = hammering.host, hammering.vm
    host.start_ebbd()
    host.await_attached(vm)
    tap.check(True, "the library attached to the next ebbd by itself")
    host.ebbctl("limit", vm.name, f"{LIMIT_MIB}M")
    wait_until(lambda: bool(hammering.look())
               and host.show(vm)["pages_swapped_out"] >= AGAIN_SWAP_OUTS
               and host.show(vm)["pages_swapped_in"] >= AGAIN_SWAP_OUTS, AGAIN_S, "swapping again")
    tap.check(True, "it swaps again")


def end(tap: Tap, hammering: Hammering) -> None:
    host, vm = hammering.host, hammering.vm
    report = vm.verify()
    tap.check(report["wrong"] == 0 and "error" not in report, "all of guest memory is right")
    vm.hammer()
    vm.quit()
    wait_until(lambda: not host.is_attached(vm), AGAIN_S, "ebbd drops the VM")
    tap.check(host.ebbd.death() is None, "ebbd dropped the VM that exited")


def run(tap: Tap, host: Host, arguments: Any) -> None:
    host.start_ebbd()
    vm = host.start_vm(Settings("hammered", RAM_MIB, arguments.seed, arguments.loader,
                                arguments.signals))
    hammering = Hammering(host, vm)
    vm.hammer()
    shown = churn(hammering, arguments.operations, arguments.swaps, arguments.seconds)
    check_churn(tap, hammering.report, shown, arguments)
    stop_ebbd(tap, hammering)
    start_again(tap, hammering)
    slow_device(tap, hammering)
    end(tap, hammering)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=Path)
    parser.add_argument("loader", choices=["plugin", "preload"])
    parser.add_argument("--operations", type=int, default=2_000_000, help="at least")
    parser.add_argument("--swaps", type=int, default=200_000, help="each way, at least")
    parser.add_argument("--seconds", type=float, default=60, help="for that, at most")
    parser.add_argument("--signals", action="store_true", help="with a signal storm")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        skip_all("needs root")
    tap = Tap()
    tap.note(f"seed {arguments.seed}")
    with Host(arguments.build.resolve()) as host:
        try:
            run(tap, host, arguments)
        except (Late, CommandFailed) as error:
            tap.check(False, str(error).replace("\n", " ")[:2000])
        status = tap.finish()
        if status != 0:
            tap.note(host.logs())
    return status


if __name__ == "__main__":
    sys.exit(main())
