#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""killed_vm_test.py BUILD [--kills N] [--seed N]: QEMU is killed while ebbd moves its pages. ebbd
survives and keeps nothing of it, and another VM notices nothing."""

import argparse
import os
import random
import sys
from dataclasses import dataclass
from pathlib import Path

from host import CommandFailed, Host
from synthetic_vm import Settings, SyntheticVm
from tap import Tap, skip_all
from waiting import Late, wait_until

RAM_MIB = 96
LIMIT_MIB = 32
# ebbd takes as much as this before the kill, and then as much again as chance says.
CHURN_PAGES = 2000
CHURN_S = 30
DROP_S = 20


@dataclass(frozen=True)
class Held:
    """What a process has."""
    threads: int
    files: int
    memfds: int

    @staticmethod
    def by(pid: int) -> "Held":
        files = []
        for file in Path(f"/proc/{pid}/fd").iterdir():
            try:
                files.append(os.readlink(file))
            except FileNotFoundError:  # closed meanwhile: a connection of ebbctl
                continue
        return Held(len(list(Path(f"/proc/{pid}/task").iterdir())), len(files),
                    sum(file.startswith("/memfd:") for file in files))


def check_neighbour(vm: SyntheticVm) -> None:
    report = vm.report()
    if report["wrong"] or report["failed"] or report["stuck"]:
        raise Late(f"the other VM is broken: {report}")


def limit(host: Host, vm: SyntheticVm) -> None:
    host.ebbctl("limit", vm.name, f"{LIMIT_MIB}M")
    vm.hammer()


def kill_in_churn(host: Host, neighbour: SyntheticVm, number: int, chance: random.Random) -> int:
    """How many pages were out when it was killed."""
    vm = host.start_vm(Settings(f"victim-{number}", RAM_MIB, chance.randrange(1 << 32),
                                chance.choice(["plugin", "preload"])))
    limit(host, vm)
    enough = CHURN_PAGES + chance.randrange(CHURN_PAGES)

    def has_churned() -> bool:
        check_neighbour(neighbour)
        return host.show(vm)["pages_swapped_out"] >= enough
    wait_until(has_churned, CHURN_S, f"{vm.name} is swapped out")
    # Now and then in the middle of bringing everything back.
    if chance.random() < 0.3:
        host.ebbctl("limit", vm.name, "none")
        host.ebbctl("swap-in", vm.name, "--no-wait")
    out = host.show(vm)["swapped_bytes"] >> 12
    vm.kill()
    wait_until(lambda: not host.is_attached(vm), DROP_S, f"ebbd drops {vm.name}")
    return out


def run(tap: Tap, host: Host, kills: int, chance: random.Random) -> None:
    host.start_ebbd()
    neighbour = host.start_vm(Settings("neighbour", RAM_MIB, chance.randrange(1 << 32)))
    limit(host, neighbour)
    wait_until(lambda: host.show(neighbour)["barriers"] > 0, CHURN_S, "the other VM is swapped out")
    before = Held.by(host.ebbd.pid)
    out = [kill_in_churn(host, neighbour, number, chance) for number in range(kills)]
    tap.note(f"pages that were out at the kills: {out}")
    tap.check(max(out) > 0, f"{kills} VMs were killed with pages swapped out")
    tap.check(host.ebbd.death() is None, "ebbd survived")
    try:
        wait_until(lambda: Held.by(host.ebbd.pid) == before, DROP_S, "ebbd lets go of everything")
    except Late:
        pass
    tap.check(Held.by(host.ebbd.pid) == before,
              f"ebbd holds what it held before: {before}, now {Held.by(host.ebbd.pid)}")
    check_neighbour(neighbour)
    report = neighbour.verify()
    tap.check(report["wrong"] == 0 and "error" not in report, "the other VM's memory is right")
    shown = host.show(neighbour)
    tap.check(shown["pages_swapped_out"] > 0 and shown["pages_swapped_in"] > 0,
              f"it was swapped meanwhile: {shown['pages_swapped_out']} pages out, "
              f"{shown['pages_swapped_in']} in")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=Path)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        skip_all("needs root")
    tap = Tap()
    tap.note(f"seed {arguments.seed}")
    with Host(arguments.build.resolve()) as host:
        try:
            run(tap, host, arguments.kills, random.Random(arguments.seed))
        except (Late, CommandFailed) as error:
            tap.check(False, str(error).replace("\n", " ")[:2000])
        status = tap.finish()
        if status != 0:
            tap.note(host.logs())
    return status


if __name__ == "__main__":
    sys.exit(main())
