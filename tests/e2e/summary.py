# SPDX-License-Identifier: MIT
"""How a run ended: the verdict, the text a person reads, and the JSON a program reads."""

from dataclasses import dataclass, field
from typing import Any

from phase import SILENT_S
from record import OVERSHOOT, SETTLE_S, Record
from setting import Setting
from sizes import clock, gib, mib
from view import paced_share


@dataclass
class Ending:
    """What the runner knows beside the record."""
    seconds: float
    silence_s: float
    qemu_pid: int
    content_lz4_ratio: float
    deaths: list[str] = field(default_factory=list)       # components that ended on their own
    wrong_pages: list[str] = field(default_factory=list)  # the guest's reports
    guest_failure: str | None = None


def failures(setting: Setting, record: Record, ending: Ending) -> list[str]:
    """Everything that keeps the run from counting, in plain words; empty: it passed."""
    found = list(ending.deaths)
    if ending.guest_failure:
        found.append(f"The guest's workload gave up: {ending.guest_failure}")
    if record.report and record.report.wrong_bytes > 0:
        found.append(f"The guest found {record.report.wrong_bytes:,} wrong bytes in its memory.")
    if ending.silence_s > SILENT_S:
        found.append(f"Nothing was heard of the guest for the last {ending.silence_s:.0f} s: "
                     "it hangs.")
    if record.vm.get("state") == "held":
        found.append(f"ebbd holds the VM, because it cannot produce a page of it: "
                     f"{record.vm['held_reason']}")
    if record.host.get("detached_vms", 0) > 0:
        found.append("ebbd detached the VM: it no longer takes memory from it (see ebbd.log).")
    if is_too_short(record):
        return found or [_too_short(record, ending)]
    allowed = OVERSHOOT * setting.limit_bytes
    if record.settled_maxima.resident_bytes > allowed:
        found.append(f"The limit was not held: {mib(record.settled_maxima.resident_bytes)} were "
                     f"resident, {mib(allowed)} is the most that {mib(setting.limit_bytes)} "
                     "allows.")
    if record.settled_verified_bytes == 0:
        found.append("The guest verified nothing after it had settled.")
    return found


def is_too_short(record: Record) -> bool:
    """For any figure to count."""
    return record.settled_maxima.samples == 0 or record.settled_used_bytes_min is None


def _too_short(record: Record, ending: Ending) -> str:
    if record.report is None:
        return (f"Too short: the guest had not booted after {ending.seconds:.0f} s. Let it run "
                "longer (--for 120).")
    if record.filled is None:
        return (f"Too short: the guest was still filling its memory after {ending.seconds:.0f} s. "
                "Let it run longer (--for 120).")
    needed = record.filled - record.started + SETTLE_S
    return (f"Too short: figures count from {SETTLE_S} s after the guest has filled its memory, "
            f"which was to be {needed:.0f} s after the start; it ended after "
            f"{ending.seconds:.0f} s. Let it run longer (--for 120).")


def as_json(setting: Setting, record: Record, ending: Ending) -> dict[str, Any]:
    """The keys of issue 2. What was never measured is null."""
    settled = record.settled_maxima
    report, vm = record.report, record.vm
    return {
        "guest_ram_bytes": setting.ram_bytes,
        "guest_used_bytes": record.settled_used_bytes_min,
        "content_lz4_ratio": ending.content_lz4_ratio,
        "resident_limit_bytes": setting.limit_bytes,
        "resident_bytes_max_after_settling": settled.resident_bytes if settled.samples else None,
        "host_bytes_max_after_settling": settled.host_bytes if settled.samples else None,
        "swapped_bytes_max": record.swapped_bytes_max,
        "pool_bytes_max": record.pool_bytes_max,
        "pages_swapped_out": vm.get("pages_swapped_out"),
        "pages_swapped_in": vm.get("pages_swapped_in"),
        "verified_bytes": report.verified_bytes if report else 0,
        "wrong_bytes": report.wrong_bytes if report else None,
        "fault_p50_us": vm.get("fault_p50_us"),
        "fault_p99_us": vm.get("fault_p99_us"),
        "paced_us_total": vm.get("paced_us_total"),
        "barriers": vm.get("barriers"),
        "barrier_p99_ms": vm.get("barrier_p99_ms"),
        "detached": record.host.get("detached_vms"),
        "accelerator": setting.accelerator,
        "qemu_version": setting.qemu_version,
        "qemu_pid": ending.qemu_pid,
    }


def _verdict(found: list[str], record: Record, ending: Ending) -> str:
    if not found:
        return "passed"
    only_too_short = is_too_short(record) and found == [_too_short(record, ending)]
    return "no result" if only_too_short else "FAILED"


def _row(label: str, text: str) -> str:
    return f"  {label:<12}{text}"


def as_text(setting: Setting, record: Record, ending: Ending) -> str:
    found = failures(setting, record, ending)
    lines = ["", f"Ebb, first light: {_verdict(found, record, ending)} "
             f"after {clock(ending.seconds)}", ""]
    lines += _figures(setting, record, ending)
    if ending.wrong_pages:
        lines += ["", "The first wrong pages, as the guest reported them:",
                  *(f"  {page}" for page in ending.wrong_pages)]
    if found:
        lines += ["", "What failed:", *(f"  - {failure}" for failure in found)]
    return "\n".join(lines)


def _figures(setting: Setting, record: Record, ending: Ending) -> list[str]:
    lines = [_row("guest", f"{mib(setting.ram_bytes)} of memory, on QEMU {setting.qemu_version} "
                           f"with {setting.accelerator.upper()}, Ebb loaded as {setting.loader}")]
    settled, used = record.settled_maxima, record.settled_used_bytes_min
    if settled.samples and used:
        lines += [
            _row("limit", f"{mib(setting.limit_bytes)} resident; at most "
                          f"{mib(settled.resident_bytes)} were, after settling"),
            _row("host", f"spent at most {mib(settled.host_bytes)} on a guest that used "
                         f"{mib(used)}: {1 - settled.host_bytes / used:.0%} less"),
        ]
    if record.vm:
        vm = record.vm
        lines += [
            _row("swapped", f"at most {mib(record.swapped_bytes_max)}, in a pool of "
                            f"{mib(record.pool_bytes_max)}; the content compresses "
                            f"{ending.content_lz4_ratio:.2f} : 1"),
            _row("pages", f"{vm['pages_swapped_out']:,} swapped out, {vm['pages_swapped_in']:,} "
                          "swapped in"),
            _row("faults", f"p50 {vm['fault_p50_us']:.0f} us, p99 {vm['fault_p99_us']:.0f} us; "
                           f"paced {paced_share(vm, ending.seconds):.2%} of the time"),
            _row("barriers", f"{vm['barriers']:,}, p99 {vm['barrier_p99_ms']:.1f} ms"),
        ]
    if record.report:
        lines.append(_row("verified", f"{gib(record.report.verified_bytes)} by the guest, "
                                      f"{record.report.wrong_bytes:,} bytes wrong"))
    return lines
