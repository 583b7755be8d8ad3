# SPDX-License-Identifier: MIT
"""Everything a run has seen so far. The sampler's thread and the main thread add to it."""

import threading
from dataclasses import dataclass, field
from typing import Any

from guest import GuestReport
from sampler import Sample

# Figures count from so long after the guest has filled its memory.
SETTLE_S = 30

# A limit is a target with bounded overshoot.
OVERSHOOT = 1.05


@dataclass
class Maxima:
    """Over the samples and reports it is given; never all of them kept: a run may last days."""
    samples: int = 0
    resident_bytes: int = 0
    host_bytes: int = 0

    def add(self, sample: Sample) -> None:
        self.samples += 1
        self.resident_bytes = max(self.resident_bytes, sample.resident_bytes)
        self.host_bytes = max(self.host_bytes, sample.host_bytes)


@dataclass
class Record:
    started: float = 0.0           # QEMU's start, as all times on the monotonic clock
    filled: float | None = None    # first seen to have filled its memory
    sample: Sample | None = None
    report: GuestReport | None = None
    reported: float | None = None
    vm: dict[str, Any] = field(default_factory=dict)    # VmStatus
    host: dict[str, Any] = field(default_factory=dict)  # HostStatus

    settled_maxima: Maxima = field(default_factory=Maxima)
    pool_bytes_max: int = 0
    swapped_bytes_max: int = 0
    settled_used_bytes_min: int | None = None
    settled_verified_from: int | None = None

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    def is_settled(self, time: float) -> bool:
        return self.filled is not None and time >= self.filled + SETTLE_S

    def silence(self, time: float) -> float:
        """For how long the guest has not reported; 0 before it ever did."""
        return 0.0 if self.reported is None else time - self.reported

    def add_sample(self, sample: Sample) -> None:
        with self._lock:
            self.sample = sample
            self.pool_bytes_max = max(self.pool_bytes_max, sample.pool_bytes)
            if self.is_settled(sample.time):
                self.settled_maxima.add(sample)

    def add_report(self, report: GuestReport, time: float) -> None:
        with self._lock:
            self.report = report
            self.reported = time
            if report.phase == "running" and self.filled is None:
                self.filled = time
            if not self.is_settled(time):
                return
            if self.settled_verified_from is None:
                self.settled_verified_from = report.verified_bytes
            # The smallest: the saving is measured against what the guest used at least.
            used = self.settled_used_bytes_min
            self.settled_used_bytes_min = (
                report.used_bytes if used is None else min(used, report.used_bytes))

    def add_status(self, vm: dict[str, Any], host: dict[str, Any]) -> None:
        with self._lock:
            self.vm = vm
            self.host = host
            self.swapped_bytes_max = max(self.swapped_bytes_max, vm["swapped_bytes"])

    @property
    def settled_verified_bytes(self) -> int:
        if self.report is None or self.settled_verified_from is None:
            return 0
        return self.report.verified_bytes - self.settled_verified_from
