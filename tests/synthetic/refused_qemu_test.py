#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""refused_qemu_test.py BUILD: a real QEMU, started in ways that Ebb does not allow, is refused by
name of the reason and runs on."""

import os
import subprocess
import sys
from pathlib import Path

from host import CommandFailed, Host
from process import Child
from tap import Tap, skip_all
from waiting import Late, wait_until

QEMU = "qemu-system-x86_64"
REFUSED_S = 30
STOP_S = 10

# How it is started, and a part of what ebbd has to say; nothing: it is attached.
CASES: dict[str, tuple[list[str], str]] = {
    "usual": ([], ""),
    "incoming": (["-incoming", "defer"], "without a QMP socket (qmp=PATH) ebbd cannot see"),
    "locked": (["-overcommit", "mem-lock=on"], "of memory locked or pinned (VmLck)"),
}


def start(host: Host, name: str, arguments: list[str]) -> Child:
    plugin = (f"file={host.build}/qemu-plugin/libebb-qemu.so,"
              f"socket={host.folder}/handover.sock,name={name}")
    return Child(name, [
        QEMU, "-accel", "tcg", "-machine", "q35,memory-backend=ram0", "-m", "64M",
        "-object", "memory-backend-memfd,id=ram0,size=64M,share=on", "-nodefaults",
        "-display", "none", "-S", "-plugin", plugin, *arguments], host.folder / f"{name}.log")


def check(tap: Tap, host: Host, name: str) -> None:
    arguments, reason = CASES[name]
    qemu = start(host, name, arguments)
    try:
        wanted = reason or ": attached, "

        def said() -> bool:
            if qemu.death() is not None:
                raise Late(f"{qemu.death()}: {qemu.log.read_text()}")
            return any(f"vm {name}" in line and wanted in line
                       for line in host.ebbd.log.read_text().splitlines())
        wait_until(said, REFUSED_S, f"ebbd says: {wanted}")
        tap.check(True, f"{name}: ebbd says '{wanted}'")
        tap.check(qemu.death() is None, f"{name}: QEMU runs on")
    finally:
        qemu.stop(STOP_S)


def main() -> int:
    if os.geteuid() != 0:
        skip_all("needs root")
    tap = Tap()
    with Host(Path(sys.argv[1]).resolve()) as host:
        try:
            host.start_ebbd()
            for name in CASES:
                check(tap, host, name)
        except (Late, CommandFailed, subprocess.SubprocessError) as error:
            tap.check(False, str(error).replace("\n", " ")[:2000])
        status = tap.finish()
        if status != 0:
            tap.note(host.logs())
    return status


if __name__ == "__main__":
    sys.exit(main())
