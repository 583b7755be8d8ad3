#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""hostile_handover_test.py BUILD: processes that misbehave on the hand-over socket, while another
VM is swapped. docs/FAILURE_MODEL.md says what each of them gets."""

import os
import sys
from pathlib import Path

from host import CommandFailed, Host
from tap import Tap, skip_all
from waiting import Late
from watched import Watched


def packets(watched: Watched) -> None:
    with watched.act("garbage") as peer:
        watched.expect_said(peer, "done")
        watched.expect_log(f"process {peer.pid}", "something that is not a hello")
    with watched.act("short") as peer:
        for _ in range(3):
            watched.expect_said(peer, "refuse: it sent something that is not a hello")
    with watched.act("oversized") as peer:
        for _ in range(2):
            watched.expect_said(peer, "refuse: it sent something that is not a hello")
    with watched.act("reasons") as peer:
        watched.expect_said(peer, "done")
        watched.expect_log(f"process {peer.pid}", "more refusals")
    with watched.act("late") as peer:
        watched.expect_said(peer, "refuse: it sent no hello in time")
        watched.expect_log(f"process {peer.pid}", "it sent no hello in time")
    with watched.act("silent") as peer:
        watched.expect_said(peer, "connected")
        # Others are let in meanwhile.
        with watched.act("short") as other:
            watched.expect_said(other, "refuse")
    with watched.act("connects") as peer:
        watched.expect_said(peer, "connections")


def descriptors(watched: Watched) -> None:
    with watched.act("wrong-fds") as peer:
        for name, reason in {"pipe": "not a memfd", "sealed": "sealed", "read-only": "reading and",
                             "tmpfs": "not a memfd", "device": "not a memfd",
                             "no-uffd": "not a userfaultfd",
                             "swapped": "not a userfaultfd"}.items():
            watched.expect_said(peer, f"{name}: refuse: ", reason)
        watched.expect_log(f"(process {peer.pid}): not attached", "not a memfd")
    with watched.act("used-uffd") as peer:
        watched.expect_said(peer, "used: refuse: ", "UFFDIO_API")
        watched.expect_said(peer, "blocking: refuse: ", "not non-blocking")
    with watched.act("foreign-uffd") as peer:
        watched.expect_said(peer, "foreign: refuse: ")
        watched.expect_log(f"vm foreign (process {peer.pid}): not attached", "another process")
    with watched.act("lingering-fds") as peer:
        watched.expect_said(peer, "sent")
        with watched.act("short") as other:
            watched.expect_said(other, "refuse")


def memory(watched: Watched) -> None:
    with watched.act("overlap") as peer:
        for name, reason in {"twice": "overlap", "overlap": "overlap", "past-the-end": "malformed",
                             "unaligned": "malformed", "overflow": "malformed",
                             "elsewhere": "does not map", "no-such-fd": "malformed"}.items():
            watched.expect_said(peer, f"{name}: refuse: ", reason)
        watched.expect_log(f"vm elsewhere (process {peer.pid}): not attached", "does not map")
    with watched.act("foreign-ram", str(watched.bystander.pid)) as peer:
        watched.expect_said(peer, "thief: refuse: ")
        watched.expect_log("vm thief", f"process {watched.bystander.pid} has open")
    with watched.act("huge") as peer:
        watched.expect_said(peer, "refuse: ", "times the host's")
    with watched.act("forge") as peer:
        watched.expect_said(peer, "accept")
        watched.expect_log("vm forger", "/none?error vm bystander: it burns")
    with watched.act("replay") as peer:
        watched.expect_said(peer, "accept")
        watched.expect_said(peer, "sent")
        watched.expect_log("vm replay", "sent something after its hello")
        watched.expect_said(peer, 'replay: refuse: a VM named "replay" is attached already')
        watched.expect_said(peer, "replay: refuse: ")
        watched.expect_said(peer, "second: refuse: ")
        watched.expect_log("vm second", f"process {peer.pid} has a VM attached already")


def main() -> int:
    if os.geteuid() != 0:
        skip_all("needs root")
    tap = Tap()
    with Host(Path(sys.argv[1]).resolve()) as host:
        try:
            watched = Watched(tap, host)
            packets(watched)
            descriptors(watched)
            memory(watched)
            watched.finish()
        except (Late, CommandFailed) as error:
            tap.check(False, str(error).replace("\n", " ")[:2000])
        status = tap.finish()
        if status != 0:
            tap.note(host.logs())
    return status


if __name__ == "__main__":
    sys.exit(main())
