# SPDX-License-Identifier: MIT
"""Made-up figures for the unit tests of the run."""

from typing import Any

from guest import GuestReport
from record import SETTLE_S, Record
from sampler import Sample
from setting import Setting
from sizes import MIB
from summary import Ending

STARTED = 1000.0
FILLED = STARTED + 10
SETTLED = FILLED + SETTLE_S

SETTING = Setting(ram_bytes=1024 * MIB, limit_bytes=256 * MIB, fill_bytes=700 * MIB, end_s=120,
                  accelerator="tcg", accelerator_reason="as asked", qemu_version="7.2.22",
                  loader="plugin")


def sample(time: float, resident: int = 250 * MIB, pool: int = 270 * MIB) -> Sample:
    return Sample(time=time, resident_bytes=resident, pool_bytes=pool, word_bytes=2 * MIB,
                  record_bytes=3 * MIB, ebbd_bytes=5 * MIB, qemu_bytes=80 * MIB)


def report(phase: str = "running", used: int = 734 * MIB, verified: int = 0,
           wrong: int = 0) -> GuestReport:
    return GuestReport(seconds=12.0, phase=phase, used_bytes=used, filled_bytes=700 * MIB,
                       verified_bytes=verified, wrong_bytes=wrong, sweeps=3,
                       disk_sweeps=5, hot_rewrites=1000)


def vm(**changes: Any) -> dict[str, Any]:
    return {"state": "running", "held_reason": "", "swapped_bytes": 500 * MIB,
            "pool_original_bytes": 500 * MIB, "pool_compressed_bytes": 235 * MIB,
            "pages_swapped_out": 1_234_567, "pages_swapped_in": 1_134_567, "faults": 1_334_567,
            "fault_p50_us": 18.4, "fault_p99_us": 93.1, "paced_us_total": 1234, "barriers": 80,
            "barrier_p99_ms": 2.13, **changes}


def host(**changes: Any) -> dict[str, Any]:
    return {"detached_vms": 0, **changes}


def record_that_passes() -> Record:
    record = Record(started=STARTED)
    record.add_report(report("filling"), STARTED + 2)
    record.add_report(report("running"), FILLED)
    record.add_status(vm(), host())
    for second in range(3):
        record.add_sample(sample(SETTLED + second))
        record.add_report(report(verified=(second + 1) * 1000 * MIB), SETTLED + second)
    return record


def ending(**changes: Any) -> Ending:
    return Ending(**{"seconds": 120.0, "silence_s": 0.5, "qemu_pid": 4711,
                     "content_lz4_ratio": 2.1, **changes})
