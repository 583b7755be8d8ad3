#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""later_violation_test.py BUILD: what Ebb refuses at attach comes up later, in VMs that are swapped
out. ebbd brings everything back, lets each VM go by name of the reason, and no byte is wrong."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from foreign_memory import take_ram
from host import CommandFailed, Host
from synthetic_vm import Settings, SyntheticVm
from tap import Tap, skip_all
from waiting import Late, wait_until

RAM_MIB = 64
LIMIT_MIB = 32
CHURN_PAGES = 2000
CHURN_S = 60
# ebbd looks every 5 s, and brings back what is out.
FOUND_S = 30


@dataclass(frozen=True)
class Violation:
    order: str   # of the VM; nothing: this process has its memory open
    reason: str  # a part of what ebbd has to say


def violations(device: Path) -> dict[str, Violation]:
    return {
        "locks": Violation("violate lock", "(VmLck)"),
        "pins": Violation("violate pin", "(VmPin)"),
        "maps-again": Violation("violate map-again", "a second time"),
        "opens-vfio": Violation(f"violate open {device}", f"(open: {device})"),
        "is-held": Violation("", f"process {os.getpid()} has open"),
        "does-nothing": Violation("report", ""),
    }


def churn(host: Host, vm: SyntheticVm) -> None:
    host.ebbctl("limit", vm.name, f"{LIMIT_MIB}M")
    vm.hammer()
    wait_until(lambda: host.show(vm)["pages_swapped_out"] >= CHURN_PAGES, CHURN_S,
               f"{vm.name} is swapped out")


def check_let_go(tap: Tap, host: Host, vm: SyntheticVm, reason: str) -> None:
    wait_until(lambda: not host.is_attached(vm), FOUND_S, f"ebbd lets {vm.name} go")
    lines = host.ebbd.log.read_text().splitlines()
    tap.check(any(f"vm {vm.name}: can no longer be managed" in line and reason in line
                  for line in lines), f"{vm.name}: ebbd says why: {reason}")
    tap.check(any(f"vm {vm.name}: all of its memory is back" in line for line in lines),
              f"{vm.name}: everything came back")


def check_right(tap: Tap, vm: SyntheticVm) -> None:
    report = vm.verify()
    tap.check(report["wrong"] == 0 and report["failed"] == 0 and "error" not in report,
              f"{vm.name}: all of its memory is right after {report['operations']} operations")


def run(tap: Tap, host: Host, device: Path) -> None:
    host.start_ebbd()
    cases = violations(device)
    vms = [host.start_vm(Settings(name, RAM_MIB, seed)) for seed, name in enumerate(cases)]
    for vm in vms:
        churn(host, vm)
    tap.note(f"swapped out: {[host.show(vm)['swapped_bytes'] >> 12 for vm in vms]} pages")
    held = [take_ram(vm.pid) for vm in vms if not cases[vm.name].order]
    for vm in vms:
        if cases[vm.name].order:
            tap.check("error" not in vm.order(cases[vm.name].order), f"{vm.name}: done")
    for vm in vms:
        if cases[vm.name].reason:
            check_let_go(tap, host, vm, cases[vm.name].reason)
        else:
            tap.check(host.is_attached(vm), f"{vm.name}: it stays")
        check_right(tap, vm)
    for fd in held:
        os.close(fd)


def main() -> int:
    if os.geteuid() != 0:
        skip_all("needs root")
    tap = Tap()
    # No VFIO here; what counts is the name.
    device = Path(f"/dev/vfio-of-ebb-test-{os.getpid()}")
    device.touch()
    with Host(Path(sys.argv[1]).resolve()) as host:
        try:
            run(tap, host, device)
        except (Late, CommandFailed) as error:
            tap.check(False, str(error).replace("\n", " ")[:2000])
        finally:
            device.unlink()
        status = tap.finish()
        if status != 0:
            tap.note(host.logs())
    return status


if __name__ == "__main__":
    sys.exit(main())
