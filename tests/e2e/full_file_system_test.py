#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""full_file_system_test.py BUILD: the disk tier is a device whose file system gets no more room, so
that it refuses to write where it never has. The guest goes on, above its limit, and at it when
there is room again."""

import sys

import disk_tier_guest
import scene_check
from disk_tier_guest import DISK_BYTES, LIMIT_BYTES, ON_DISK_S, RAM_BYTES, DiskTierGuest
from full_file_system import FullFileSystem
from preparation import Prepared
from scene_check import OVERSHOOT, SceneCheck, Stage
from sizes import MIB

ROOM_BYTES = 48 * MIB  # for half of what is to go
FULL_S = 15


class FullFileSystemCheck:
    def set_up(self, stage: Stage) -> Prepared:
        self._disk = FullFileSystem(stage.folders.root, DISK_BYTES, ROOM_BYTES)
        stage.cleanup.callback(self._disk.remove)
        return disk_tier_guest.set_up(stage, self._disk.device)

    def check(self, check: SceneCheck) -> None:
        self._disk.hold()
        guest = DiskTierGuest(check, self._disk.device)
        blocks: list[int] = []
        check.wait_until_full()
        guest.wait_until_on_disk("as much as there is room for goes to the disk")
        guest.wait(lambda: guest.resident() > OVERSHOOT * LIMIT_BYTES, ON_DISK_S,
                   "there is no more: what has no place stays resident")
        writes = guest.writes()
        guest.watch(FULL_S, "while writes fail", lambda: blocks.append(len(guest.place().blocks)))
        guest.note(f"no room, {guest.writes() - writes} writes in {FULL_S} s")
        check.tap.check(max(blocks) <= ROOM_BYTES // MIB * 256, "no more is there than fits")
        check.tap.check(guest.resident() > OVERSHOOT * LIMIT_BYTES, "it is above its limit")
        self._disk.make_room()
        guest.wait_until_well()
        check.wait_until_settled("the VM is at its limit")
        check.check_nothing_wrong()
        guest.check_pool()


if __name__ == "__main__":
    full = FullFileSystemCheck()
    sys.exit(scene_check.run(RAM_BYTES, LIMIT_BYTES, full.set_up, full.check))
