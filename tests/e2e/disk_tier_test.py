#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""disk_tier_test.py BUILD: more of a guest is cold than the pool may take, so that it goes to the
disk tier. The disk refuses writes, refuses reads, answers nothing at all, and becomes full. Each
time the guest goes on as far as it can, and all of it is right when the disk is well again. Then
ebbd is stopped while the disk has pages, and the VM ends while it has."""

import random
import sys
import time
from pathlib import Path

import disk_tier_guest
import ebbctl
import scene_check
from disk_tier_guest import (DISK_BLOCKS, DISK_BYTES, LIMIT_BYTES, ON_DISK_S, POOL_MAX_BYTES,
                             RAM_BYTES, WATCH_S, WELL_AGAIN_S, DiskTierGuest)
from failing_disk import FailingDisk
from preparation import Prepared
from sampler import RAM_MEMFD, memfd_bytes, take_sample
from scene_check import OVERSHOOT, SceneCheck, Stage
from sizes import MIB
from touching import Toucher

LOW_LIMIT_BYTES = 40 * MIB
OWN_BYTES = 32 * MIB     # ebbd's, page words and records
NEARLY_FULL = 0.95       # what is freed meanwhile has room
PAGE_BYTES = 4096
REFUSED_S = 8
REFUSED_WRITES = 120     # 16 in flight, and again after 1, 2 and 4 s; else 150 a second
HELD_S = 30
STALL_S = 30
TOUCHED_PAGES = 20       # each time
LATER_MS = 20            # this machine does other things as well
MONITOR_MS = 1000        # under emulation QEMU's lock is busy
BROUGHT_BACK = 0.9       # of what was swapped out just before, at least
BRING_BACK_S = 60        # six seconds where nothing else runs
RETURN_S = 45            # the library asks every 30 s at the latest


class DiskTierCheck:
    disk: FailingDisk
    guest: DiskTierGuest

    def set_up(self, stage: Stage) -> Prepared:
        self.disk = FailingDisk(stage.folders.root, DISK_BYTES)
        stage.cleanup.callback(self.disk.remove)
        return disk_tier_guest.set_up(stage, self.disk.device)

    def check(self, check: SceneCheck) -> None:
        self.disk.hold()
        self.guest = DiskTierGuest(check, self.disk.device)
        toucher = Toucher(check.scene.qemu.pid)
        check.scene.callback(toucher.stop)
        check.wait_until_full()
        check.wait_until_settled("most of it was taken away")
        self.guest.wait_until_on_disk("what does not fit into the pool is on the disk")
        self._check_use()
        self._check_refused_writes()
        self._check_refused_reads()
        self._check_stall(toucher)
        self._check_full()
        toucher.stop()
        self._check_stop()
        self._check_end_of_vm()
        self.guest.check_pool()

    def _check_use(self) -> None:
        scene, most = self.guest.scene, []
        before = self.guest.vm()["pages_swapped_in"]
        self.guest.watch(WATCH_S, "with a disk", lambda: most.append(
            take_sample(scene.qemu.pid, scene.ebbd.pid).host_bytes))
        self.guest.note("a disk that is well")
        self.guest.tap.check(self.guest.vm()["pages_swapped_in"] > before + 1000,
                             "pages come back all the time")
        bound = OVERSHOOT * LIMIT_BYTES + POOL_MAX_BYTES + OWN_BYTES
        self.guest.tap.check(max(most) < bound,
                             f"the host spends what it may ({max(most) / MIB:.0f} MiB of "
                             f"{bound / MIB:.0f})")

    def _check_refused_writes(self) -> None:
        with self.disk.failing("write"):
            self.guest.wait(lambda: self.guest.resident() > OVERSHOOT * LIMIT_BYTES, ON_DISK_S,
                            "a disk that takes nothing: what has no place stays resident")
            before, writes, on_disk = self.guest.place(), self.guest.writes(), []
            self.guest.watch(REFUSED_S, "while writes fail",
                             lambda: on_disk.append(len(self.guest.place().disk)))
            writes = self.guest.writes() - writes
            self.guest.note("writes fail")
        self.guest.tap.check(max(on_disk) <= len(before.disk), "nothing goes to the disk")
        self.guest.tap.check(min(on_disk) > 0, "what was there can be read")
        self.guest.tap.check(writes <= REFUSED_WRITES, f"it is left in peace ({writes} writes)")
        self.guest.wait_until_well()
        self.guest.check.wait_until_settled("the VM is at its limit again")

    def _check_refused_reads(self) -> None:
        control, tap = self.guest.scene.ebbd.control, self.guest.tap

        def is_held() -> bool:
            self.disk.forget()
            return self.guest.vm()["state"] == "held"
        with self.guest.scene.qemu.monitor() as monitor, self.disk.failing("read"):
            self.guest.wait(is_held, HELD_S, "a disk that gives nothing back: the VM is held")
            reason = self.guest.vm()["held_reason"]
            tap.check("the disk does not give its content back" in reason
                      and str(self.disk.device) in reason,
                      f"and says why, and which disk ({reason})")
            tap.check(ebbctl.ebbctl(self.guest.check, "show") == 0, "ebbctl shows it")
            started = time.monotonic()
            monitor.execute("query-status")
            took_ms = (time.monotonic() - started) * 1000
            tap.check(took_ms < MONITOR_MS, f"QEMU's monitor answers ({took_ms:.0f} ms)")
        self.guest.wait(lambda: self.guest.vm()["state"] == "running", WELL_AGAIN_S,
                        "it is well again: the VM is held no longer, without being asked")
        self.guest.wait_until_well()
        kinds = {event["kind"] for event in control.events()}
        tap.check("vm_held" in kinds, "ebbd tells that it was held")

    def _check_stall(self, toucher: Toucher) -> None:
        tap = self.guest.tap
        during: list[float] = []
        monitor_ms: list[float] = []
        before = [ms for _ in range(STALL_S // 3) for ms in self._touch(toucher)]
        with self.guest.scene.qemu.monitor() as monitor, self.disk.stalled():
            # No process may be started until it goes on (StallingDisk).
            deadline, states, on_disk = time.monotonic() + STALL_S, set(), []
            while time.monotonic() < deadline:
                self.guest.check.watch(2)
                during += self._touch(toucher)
                started = time.monotonic()
                monitor.execute("query-status")
                monitor_ms.append((time.monotonic() - started) * 1000)
                states.add(self.guest.vm()["state"])
                on_disk.append(len(self.guest.place().disk))
            verified = self.guest.verified()
        p99_before, p99_during = p99(before), p99(during)
        tap.note(f"pages of the pool came within {p99_before:.2f} ms, and {p99_during:.2f} ms "
                 f"while the disk stalled (p99 of {len(before)} and {len(during)}; the worst "
                 f"{max(before):.2f} and {max(during):.2f})")
        tap.check(p99_during < p99_before + LATER_MS, "pages of the pool come as before")
        tap.check(max(monitor_ms) < MONITOR_MS,
                  f"QEMU's monitor answers while the disk stalls ({max(monitor_ms):.0f} ms)")
        tap.check(states == {"running"}, f"the VM is not held: it only waits ({states})")
        tap.check(max(on_disk) <= on_disk[0], "nothing is said to have gone to the disk")
        self.guest.wait(lambda: self.guest.verified() > verified, WELL_AGAIN_S,
                        "it answers again: the guest goes on")
        self.guest.wait_until_well()

    def _touch(self, toucher: Toucher) -> list[float]:
        """How long pages of the pool take to come, in milliseconds."""
        maps = Path(f"/proc/{self.guest.scene.qemu.pid}/maps").read_text().splitlines()
        ram = min(int(line.split("-")[0], 16) for line in maps if RAM_MEMFD in line)
        pages = random.sample(self.guest.place().pool, TOUCHED_PAGES)
        return toucher.touch([ram + page * PAGE_BYTES for page in pages])

    def _check_full(self) -> None:
        control, name = self.guest.scene.ebbd.control, self.guest.scene.vm_name
        control.set_limit(name, LOW_LIMIT_BYTES)
        pool_full: list[bool] = []
        self.guest.wait(lambda: len(self.guest.place().blocks) > NEARLY_FULL * DISK_BLOCKS,
                        ON_DISK_S, "more is to go than the disk holds: it becomes full")
        self.guest.watch(WATCH_S, "with a full disk",
                         lambda: pool_full.append(self.guest.vm()["pool_full"]))
        self.guest.note("full")
        self.guest.tap.check(any(pool_full), "and so does the pool")
        self.guest.tap.check(self.guest.resident() > OVERSHOOT * LOW_LIMIT_BYTES,
                             "what has no place stays resident, above the limit")
        control.set_limit(name, LIMIT_BYTES)
        self.guest.check.wait_until_settled("with a higher limit it is at it again")

    def _check_stop(self) -> None:
        tap = self.guest.tap
        self.guest.check.check_nothing_wrong()
        self.guest.note("before ebbd stops")
        swapped, resident = self.guest.vm()["swapped_bytes"], self.guest.resident()
        started = time.monotonic()
        self._check_end_of_ebbd()
        tap.note(f"it took {time.monotonic() - started:.1f} s to bring {swapped >> 20} MiB back")
        ram = memfd_bytes(self.guest.scene.qemu.pid)[RAM_MEMFD]
        tap.check(ram > resident + BROUGHT_BACK * swapped,
                  f"with all of the guest's memory back ({ram >> 20} MiB)")

    def _check_end_of_vm(self) -> None:
        scene, tap = self.guest.scene, self.guest.tap
        scene.start_ebbd("ebbd-again")
        control = scene.ebbd.control
        self.guest.wait(lambda: control.status()["vms"] == 1, RETURN_S,
                        "another ebbd takes that disk, and the VM")
        control.set_limit(scene.vm_name, LIMIT_BYTES)
        self.guest.wait_until_on_disk("it goes to the disk again")
        self.guest.watch(WATCH_S, "under another ebbd")
        self.guest.check.check_nothing_wrong()
        complaint = scene.end_vm()
        tap.check(complaint is None, f"QEMU ends while its pages are on the disk ({complaint})")
        self.guest.wait(lambda: control.status()["vms"] == 0, WATCH_S, "ebbd has seen it go")
        self._check_end_of_ebbd()

    def _check_end_of_ebbd(self) -> None:
        scene = self.guest.scene
        ending = (scene.end_ebbd(BRING_BACK_S), scene.ebbd.death())
        self.guest.tap.check(ending == (None, "ebbd exited with status 0"),
                             f"ebbd stops cleanly {ending}")
        self.guest.tap.check(self.guest.is_device_free(), "and lets go of the disk")


def p99(times: list[float]) -> float:
    return sorted(times)[int(0.99 * (len(times) - 1))]


def p99(times: list[float]) -> float:
    return sorted(times)[int(0.99 * (len(times) - 1))]


if __name__ == "__main__":
    check = DiskTierCheck()
    sys.exit(scene_check.run(RAM_BYTES, LIMIT_BYTES, check.set_up, check.check))
