# SPDX-License-Identifier: MIT
"""What is going on, in words for somebody who watches."""

from dataclasses import dataclass

from record import SETTLE_S, Record
from sizes import mib

# The guest reports once a second. A guest that is merely slow is not silent for so long.
SILENT_S = 10


@dataclass(frozen=True)
class Phase:
    name: str  # booting, filling, settling, measuring, silent, held
    text: str


def phase_of(record: Record, fill_bytes: int, now: float) -> Phase:
    if record.report is None:
        return Phase("booting", "the guest's Linux kernel starts")
    if record.vm.get("state") == "held":
        return Phase("held", f"ebbd cannot produce a page: {record.vm['held_reason']}")
    if record.silence(now) > SILENT_S:
        return Phase("silent", f"nothing was heard of the guest for {record.silence(now):.0f} s")
    if record.filled is None:
        return Phase("filling", f"the guest fills its memory: "
                                f"{mib(record.report.filled_bytes)} of {mib(fill_bytes)}")
    if not record.is_settled(now):
        left = record.filled + SETTLE_S - now
        return Phase("settling", f"the guest is full; the result counts from {left:.0f} s on")
    return Phase("measuring", "the guest reads, rewrites and verifies its memory")
