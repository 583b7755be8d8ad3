#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""hostile_vm_test.py BUILD: VMs that are attached and misbehave then, on their QMP socket and in
their memory, while another VM is swapped. docs/FAILURE_MODEL.md says what each of them gets."""

import os
import sys
from pathlib import Path

from host import CommandFailed, Host
from synthetic_vm import Settings
from tap import Tap, skip_all
from waiting import Late, wait_until
from watched import LIMIT_MIB, RAM_MIB, Watched

# What a QMP peer does (qmp_peer.py), and what ebbd has to say of it.
MANNERS = {
    "garbage": "QEMU does not answer",
    "never": "QEMU does not answer",
    "no-answer": "QEMU does not answer",
    "slow": "QEMU does not answer",
    "no-capabilities": "the connection was lost",
    "closes": "the connection was lost",
    "one-line": "the connection was lost",
    "lines": "QEMU floods it",
    "events": "QEMU floods it",
    "answers": "QEMU floods it",
}
SWAP_OUT_S = 30


def qmp_path(watched: Watched, name: str) -> str:
    return str(watched.host.folder / f"{name}.qmp")


def qmp(watched: Watched) -> None:
    """All at the same time: those that are only silent are found after 10 s."""
    with watched.act("nothing"):
        peers = [watched.start("qmp", qmp_path(watched, manner), manner) for manner in MANNERS]
        for peer in peers:
            watched.expect_said(peer, "accept")
        for manner, reason in MANNERS.items():
            watched.expect_log(f"vm qmp-{manner}: QMP is of no use", reason)
        for peer in peers:
            peer.end()


def removes(watched: Watched) -> None:
    """A guest that discards its memory as fast as it can."""
    flooder = watched.host.start_vm(Settings("flooder", RAM_MIB, seed=2))
    watched.host.ebbctl("limit", flooder.name, f"{LIMIT_MIB}M")
    wait_until(lambda: watched.host.show(flooder)["swapped_bytes"] > 0, SWAP_OUT_S,
               "the flooder is swapped out")
    with watched.act("nothing", thread="fault/flooder", cpu_max=1.0):
        before = watched.host.show(watched.bystander)
        watched.tap.check("error" not in flooder.order("violate discard"), "it has discarded")
        after = watched.host.show(watched.bystander)
        served = after["pages_swapped_in"] - before["pages_swapped_in"]
        watched.tap.check(served > 100, f"meanwhile the bystander got {served} pages back")
        watched.tap.note(f"{flooder.log.read_text().splitlines()[-1]}; the bystander's faults: "
                         f"p50 {after['fault_p50_us']} us, p99 {after['fault_p99_us']} us")
    flooder.quit()


def main() -> int:
    if os.geteuid() != 0:
        skip_all("needs root")
    tap = Tap()
    with Host(Path(sys.argv[1]).resolve()) as host:
        try:
            watched = Watched(tap, host)
            removes(watched)
            qmp(watched)
            watched.finish()
        except (Late, CommandFailed) as error:
            tap.check(False, str(error).replace("\n", " ")[:2000])
        status = tap.finish()
        if status != 0:
            tap.note(host.logs())
    return status


if __name__ == "__main__":
    sys.exit(main())
