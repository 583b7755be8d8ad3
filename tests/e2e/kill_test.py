#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""kill_test.py BUILD [KILLS]: QEMUs are killed at random moments, from before they are attached
until their memory has long been moving. ebbd keeps nothing of them, and another guest notices
nothing."""

import os
import random
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import scene_check
from control import ControlError, NotKnown
from preparation import Prepared
from qemu import Qemu, VmOptions
from scene_check import SceneCheck, Stage
from sizes import MIB

RAM_BYTES = 256 * MIB
LIMIT_BYTES = 80 * MIB
PARAMETERS = ("ebb.seed=1 ebb.fill_mib=110 ebb.hot_mib=8 ebb.disk_mib=16 ebb.fill_mib_s=200 "
              "ebb.sweep_mib_s=20")
VICTIM_RAM_BYTES = 96 * MIB
VICTIM_LIMIT_BYTES = 32 * MIB
# Its guest needs no kernel to boot (tests/guest/bare/bare.cc), and has filled its memory by then.
LONGEST_S = 4.0
SEED = 1
GONE_S = 5
POLL_S = 0.02
KILLS = int(sys.argv[2]) if len(sys.argv) > 2 else 8
GUEST = Path(sys.argv[1]).resolve() / "tests/guest/bare/bare"


class Kills:
    def __init__(self) -> None:
        self._victim: VmOptions
        self._stage: Stage
        self._swapped = 0

    def set_up(self, stage: Stage) -> Prepared:
        self._stage = stage
        vm = stage.prepared.vm
        self._victim = replace(vm, ram_bytes=VICTIM_RAM_BYTES, kernel=stage.folders.stage(GUEST),
                               initramfs=None, disks=())
        return replace(stage.prepared, vm=replace(vm, guest_parameters=PARAMETERS))

    def check(self, guest: SceneCheck) -> None:
        guest.wait_until_full()
        guest.wait_until_settled("most of the neighbour was taken away")
        chance = random.Random(SEED)
        before = held_by(guest.scene.ebbd.pid)
        for number in range(KILLS):
            self._kill(guest, f"victim-{number}", chance)
            guest.read_console()
        guest.tap.note(f"seed {SEED}, {self._swapped} of {KILLS} had swapped pages")
        guest.tap.check(self._swapped > 0, "some were killed with pages swapped out")
        guest.wait(lambda: not more_than(before, held_by(guest.scene.ebbd.pid)), GONE_S,
                   "ebbd keeps no descriptor and no thread of them")
        guest.tap.note(f"before {before}, after {held_by(guest.scene.ebbd.pid)}")
        status = guest.scene.ebbd.control.status()
        guest.tap.check((status["vms"], status["detached_vms"]) == (1, 0),
                        "one VM is left, and none was detached")
        guest.check_nothing_wrong()

    def _kill(self, guest: SceneCheck, name: str, chance: random.Random) -> None:
        folders, control = self._stage.folders, guest.scene.ebbd.control
        victim = Qemu(replace(self._victim, name=name), folders.of_qemu(name), folders.log(name),
                      self._stage.user)
        try:
            deadline = time.monotonic() + chance.uniform(0, LONGEST_S)
            limited = False
            while time.monotonic() < deadline:
                try:
                    if not limited:
                        control.set_limit(name, VICTIM_LIMIT_BYTES)
                        limited = True
                except NotKnown:
                    pass
                time.sleep(POLL_S)  # style-ok(sleep): until the random moment
            try:
                self._swapped += control.vm(name)["swapped_bytes"] > 0
            except ControlError:
                pass
        finally:
            victim.kill()


def held_by(pid: int) -> dict[str, int]:
    """What a process has open, by kind, and its threads."""
    kinds: Counter[str] = Counter()
    for file in Path(f"/proc/{pid}/fd").iterdir():
        try:
            kinds[os.readlink(file).split(":")[0]] += 1
        except FileNotFoundError:  # closed meanwhile
            continue
    kinds["threads"] = len(list(Path(f"/proc/{pid}/task").iterdir()))
    return dict(kinds)


def more_than(before: dict[str, int], after: dict[str, int]) -> bool:
    """Less is no matter: a connection of ours may have been open before."""
    return any(count > before.get(kind, 0) for kind, count in after.items())


if __name__ == "__main__":
    kills = Kills()
    sys.exit(scene_check.run(RAM_BYTES, LIMIT_BYTES, kills.set_up, kills.check))
