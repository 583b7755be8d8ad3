# SPDX-License-Identifier: MIT
"""A guest of which more is cold than the pool may take, so that it goes to the disk tier."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from placement import Placement, placement
from preparation import Prepared
from sampler import POOL_MEMFD, memfd_bytes
from scene_check import SceneCheck, Stage
from sizes import MIB

RAM_BYTES = 448 * MIB
LIMIT_BYTES = 112 * MIB
POOL_MAX_BYTES = 40 * MIB
DISK_BYTES = 112 * MIB   # 100 MiB of it are in use at that limit
DISK_BLOCKS = DISK_BYTES // MIB * 255
PARAMETERS = ("ebb.seed=1 ebb.fill_mib=300 ebb.hot_mib=8 ebb.disks=0 ebb.fill_mib_s=200 "
              "ebb.sweep_mib_s=24 ebb.hot_mib_s=8")
ON_DISK_PAGES = 10000    # 40,000 do not fit into the pool
ON_DISK_S = 60
WATCH_S = 4
WELL_AGAIN_S = 45        # the longest pause of writes is 30 s, as is that of a lost page
GOES_ON_WRITES = 150     # a second's worth
WRITES_AT = 4            # in /sys/block/DEVICE/stat


def set_up(stage: Stage, device: Path) -> Prepared:
    vm = replace(stage.prepared.vm, disks=(), guest_parameters=PARAMETERS)
    return replace(stage.prepared, vm=vm, ebbd_arguments=(
        "--disk", str(device), "--pool-max", str(POOL_MAX_BYTES)))


class DiskTierGuest:
    def __init__(self, guest: SceneCheck, device: Path) -> None:
        self.check = guest
        self.tap = guest.tap
        self.scene = guest.scene
        self.device = device
        self.vm = guest.vm
        self.wait = guest.wait
        self._pool_bytes_max = 0

    def wait_until_on_disk(self, what: str) -> None:
        self.wait(lambda: len(self.place().disk) > ON_DISK_PAGES, ON_DISK_S, what)

    def wait_until_well(self) -> None:
        writes = self.writes()
        self.wait(lambda: self.writes() > writes + GOES_ON_WRITES, WELL_AGAIN_S,
                        "it is well again: it is written to again, without being asked")
        self.watch(WATCH_S, "with a disk that is well again")
        self.tap.check(self.check.report is not None and self.check.report.wrong_bytes == 0,
                       "no byte was wrong")
        self.note("well again")

    def watch(self, seconds: float, what: str, each: Callable[[], None] = lambda: None) -> None:
        """The VM is not held, and its guest goes on."""
        before, states = self.verified(), set()

        def look() -> None:
            states.add(self.vm()["state"])
            pool = memfd_bytes(self.scene.ebbd.pid)[POOL_MEMFD]
            self._pool_bytes_max = max(self._pool_bytes_max, pool)
            each()
        self.check.watch(seconds, look)
        verified = self.verified() - before
        self.tap.note(f"{verified >> 20} MiB verified in {seconds:.0f} s")
        self.tap.check(states == {"running"} and verified > 0,
                       f"{what}: the guest goes on, and is not held ({states})")

    def check_pool(self) -> None:
        self.tap.check(self._pool_bytes_max <= POOL_MAX_BYTES,
                       f"the pool never took more than it may ({self._pool_bytes_max / MIB:.1f} "
                       "MiB)")

    def note(self, what: str) -> None:
        place, vm = self.place(), self.vm()
        self.tap.note(
            f"{what}: {len(place.disk)} pages in {len(place.blocks)} blocks of the disk, "
            f"{len(place.pool)} in the pool, {vm['resident_bytes'] >> 20} MiB resident, "
            f"{self.writes()} writes, fault p99 {vm['fault_p99_us'] / 1000:.1f} ms")

    def place(self) -> Placement:
        return placement(self.scene.ebbd.pid)

    def resident(self) -> int:
        return self.vm()["resident_bytes"]

    def verified(self) -> int:
        self.check.read_console()
        assert self.check.report is not None
        return self.check.report.verified_bytes

    def writes(self) -> int:
        """Of the device that have ended, well or not."""
        stat = Path(f"/sys/block/{self.device.name}/stat").read_text()
        return int(stat.split()[WRITES_AT])

    def is_device_free(self) -> bool:
        """That nobody uses it."""
        try:
            os.close(os.open(self.device, os.O_RDWR | os.O_EXCL))
        except OSError:
            return False
        return True
