# SPDX-License-Identifier: MIT
"""The guest's workload: what it is asked to do, and what it says on the serial console."""

import json
from dataclasses import dataclass
from pathlib import Path

from sizes import MIB

# 700 MiB of a guest with 1 GiB, and as much of any other; one part in seven is on the disk.
_FILLED_OF_RAM = 700 / 1024
_MEMORY_OF_FILLED = 6 / 7
_HOT_OF_FILLED = 64 / 700


@dataclass(frozen=True)
class Workload:
    seed: int
    memory_bytes: int
    disk_bytes: int
    hot_bytes: int

    @staticmethod
    def for_ram(ram_bytes: int, seed: int) -> "Workload":
        filled = round(ram_bytes * _FILLED_OF_RAM) // MIB
        memory = round(filled * _MEMORY_OF_FILLED)
        hot = max(1, round(filled * _HOT_OF_FILLED))
        return Workload(seed, memory * MIB, (filled - memory) * MIB, hot * MIB)

    @property
    def fill_bytes(self) -> int:
        return self.memory_bytes + self.disk_bytes

    def parameters(self) -> str:
        """For the kernel's command line; tests/guest/parameters.h explains them."""
        return (f"ebb.seed={self.seed} ebb.fill_mib={self.memory_bytes // MIB} "
                f"ebb.disk_mib={self.disk_bytes // MIB} ebb.hot_mib={self.hot_bytes // MIB}")


@dataclass(frozen=True)
class GuestReport:
    """One `EBB {json}` line."""
    seconds: float
    phase: str  # filling, running
    used_bytes: int
    filled_bytes: int
    verified_bytes: int
    wrong_bytes: int
    sweeps: int       # of memory
    disk_sweeps: int  # of all disks together
    hot_rewrites: int


def is_progress(line: str) -> bool:
    return line.startswith("EBB {")


class Console:
    """Reads the guest's serial console as it grows."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._offset = 0
        self._rest = b""
        self.wrong_pages: list[str] = []
        self.failure: str | None = None

    def move_to(self, log: Path) -> None:
        """The guest goes on in another QEMU. Call it after the last read()."""
        self._log = log
        self._offset = 0
        self._rest = b""

    def read(self) -> list[GuestReport]:
        """What the guest reported since the last call."""
        if not self._log.exists():
            return []
        with self._log.open("rb") as log:
            log.seek(self._offset)
            content = log.read()
        self._offset += len(content)
        *lines, self._rest = (self._rest + content).split(b"\n")
        reports = [self._parse(line.decode(errors="replace").strip()) for line in lines]
        return [report for report in reports if report is not None]

    def _parse(self, line: str) -> GuestReport | None:
        # The kernel may have written to the console in the middle of a line of ours.
        start = line.find("EBB")
        kind, _, text = line[max(start, 0):].partition(" ")
        if kind == "EBB-WRONG":
            self.wrong_pages.append(text)
        elif kind == "EBB-FAIL" and self.failure is None:
            self.failure = text
        elif kind == "EBB":
            try:
                return GuestReport(**json.loads(text))
            except (ValueError, TypeError):
                return None
        return None
