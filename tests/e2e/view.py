# SPDX-License-Identifier: MIT
"""What a run shows while it goes on: a screen on a terminal, else a line every few seconds."""

import shutil
import sys
from collections.abc import Callable
from typing import Any

from phase import phase_of
from record import OVERSHOOT, Record
from setting import Setting
from sizes import clock, gib, mib

SCREEN_EVERY_S = 1
LINE_EVERY_S = 5

# Everything fits into 80 columns.
_LABEL = 23
_VALUE = 9
_BAR = 22
_BOLD, _DIM, _GREEN, _RED, _YELLOW, _PLAIN = (
    "\x1b[1m", "\x1b[2m", "\x1b[32m", "\x1b[31m", "\x1b[33m", "\x1b[0m")


class Rates:
    """How fast ebbd's and the guest's counters grow, from one look to the next."""

    def __init__(self) -> None:
        self._previous: tuple[float, int, int] | None = None
        self.faults = 0.0
        self.verified_bytes = 0.0

    def update(self, record: Record, now: float) -> None:
        if not record.vm or record.report is None:
            return
        current = (now, record.vm["faults"], record.report.verified_bytes)
        if self._previous is not None and now > self._previous[0]:
            seconds = now - self._previous[0]
            self.faults = (current[1] - self._previous[1]) / seconds
            self.verified_bytes = (current[2] - self._previous[2]) / seconds
        self._previous = current


def bar(part: float, whole: float, width: int = _BAR) -> str:
    filled = 0 if whole <= 0 else round(width * min(1.0, max(0.0, part / whole)))
    return "█" * filled + "░" * (width - filled)


def pool_ratio(vm: dict[str, Any]) -> float:
    compressed = vm["pool_compressed_bytes"]
    return vm["pool_original_bytes"] / compressed if compressed else 0.0


def paced_share(vm: dict[str, Any], seconds: float) -> float:
    return vm["paced_us_total"] / 1e6 / seconds if seconds > 0 else 0.0


def saving(record: Record) -> float | None:
    """The part of what the guest uses that the host does not spend; None before it means much."""
    if record.sample is None or record.report is None or record.filled is None:
        return None
    return 1 - record.sample.host_bytes / record.report.used_bytes


def _row(label: str, value: str, note: str = "") -> str:
    return f"  {label:<{_LABEL}}{value:>{_VALUE}}  {note}".rstrip()


def _header(setting: Setting, record: Record, now: float) -> list[str]:
    end = f" of {clock(setting.end_s)}" if setting.end_s else ""
    return [
        f"  {_BOLD}Ebb: a virtual machine with {mib(setting.ram_bytes)} of memory, "
        f"{mib(setting.limit_bytes)} of it resident{_PLAIN}",
        f"  {_DIM}What it has not touched lately is taken away, compressed, and brought back.",
        f"  Stock QEMU {setting.qemu_version}, {setting.accelerator.upper()}; Ebb loaded as "
        f"{setting.loader}; {clock(now - record.started)}{end}{_PLAIN}",
    ]


def _memory(setting: Setting, record: Record) -> list[str]:
    sample, report = record.sample, record.report
    used = report.used_bytes if report else 0
    host = sample.host_bytes if sample else 0
    resident = sample.resident_bytes if sample else 0
    saved = saving(record)
    over = resident > OVERSHOOT * setting.limit_bytes
    whole = setting.ram_bytes
    lines = [
        _row("The guest uses", mib(used), f"{bar(used, whole)}  of {mib(whole)}"),
        _row("The host spends", mib(host), bar(host, whole) + (
            f"  {_BOLD}{_GREEN}{saved:.0%} less{_PLAIN}" if saved and saved > 0 else "")),
        _row("  resident guest memory", mib(resident),
             f"{_RED if over else ''}{bar(resident, setting.limit_bytes)}{_PLAIN}  "
             f"limit {mib(setting.limit_bytes)}"),
    ]
    if sample and record.vm:
        original = record.vm["pool_original_bytes"]
        ebb = sample.ebbd_bytes + sample.word_bytes + sample.record_bytes
        lines += [
            _row("  compressed pages", mib(sample.pool_bytes),
                 f"hold {mib(original)} of it (LZ4 {pool_ratio(record.vm):.2f} : 1)"),
            _row("  Ebb itself", mib(ebb), "the daemon and its records"),
            _row("Not counted: QEMU", mib(sample.qemu_bytes), "its own, with Ebb or without"),
        ]
    return lines


def _traffic(record: Record, rates: Rates, now: float) -> list[str]:
    vm = record.vm
    if not vm:
        return []
    return [
        _row("Swapped out now", mib(vm["swapped_bytes"]),
             f"{vm['pages_swapped_out']:,} pages out, {vm['pages_swapped_in']:,} in"),
        _row("Page faults", f"{rates.faults:,.0f}/s",
             f"a page is back in p50 {vm['fault_p50_us']:.0f} us, "
             f"p99 {vm['fault_p99_us']:.0f} us"),
        _row("Paced", f"{paced_share(vm, now - record.started):.2%}",
             "of the time, faults were slowed down"),
        _row("I/O barriers", f"{vm['barriers']:,}", f"p99 {vm['barrier_p99_ms']:.1f} ms"),
    ]


def _verified(record: Record, rates: Rates) -> list[str]:
    report = record.report
    if report is None:
        return []
    color = _GREEN if report.wrong_bytes == 0 else _RED
    return [
        _row("Verified by the guest", gib(report.verified_bytes),
             f"{mib(rates.verified_bytes)}/s, {report.sweeps} sweeps over its memory"),
        _row("Wrong bytes", f"{_BOLD}{color}{report.wrong_bytes:>{_VALUE},}{_PLAIN}"),
    ]


def screen(setting: Setting, record: Record, rates: Rates, now: float) -> list[str]:
    phase = phase_of(record, setting.fill_bytes, now)
    blocks = [
        _header(setting, record, now),
        [f"  {_YELLOW}{phase.name.capitalize()}{_PLAIN}: {phase.text}"],
        _memory(setting, record),
        _traffic(record, rates, now),
        _verified(record, rates),
        [f"  {_DIM}Ctrl-C ends it with a summary{_PLAIN}"],
    ]
    return [line for block in blocks if block for line in ["", *block]]


def line(setting: Setting, record: Record, rates: Rates, now: float) -> str:
    parts = [f"{clock(now - record.started)} {phase_of(record, setting.fill_bytes, now).name}"]
    sample, report, vm = record.sample, record.report, record.vm
    if report:
        parts.append(f"guest uses {mib(report.used_bytes)}")
    if sample:
        parts += [f"host spends {mib(sample.host_bytes)}",
                  f"resident {mib(sample.resident_bytes)} of {mib(setting.limit_bytes)}"]
    if vm:
        parts += [f"pool {mib(vm['pool_original_bytes'])} in {mib(vm['pool_compressed_bytes'])}",
                  f"{rates.faults:,.0f} faults/s p50 {vm['fault_p50_us']:.0f} "
                  f"p99 {vm['fault_p99_us']:.0f} us"]
    if report:
        parts.append(f"verified {gib(report.verified_bytes)}, {report.wrong_bytes:,} bytes wrong")
    return " | ".join(parts)


class View:
    """Draws at its own pace whenever it is given the record."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._rates = Rates()
        self._drawn: float | None = None
        self._on_screen = sys.stdout.isatty()
        self._draw: Callable[[Record, float], None] = (
            self._draw_screen if self._on_screen else self._draw_line)
        if self._on_screen:
            # The alternate screen, without a cursor: the terminal is left as it was.
            self._write("\x1b[?1049h\x1b[?25l\x1b[2J")

    def show(self, record: Record, now: float) -> None:
        every = SCREEN_EVERY_S if self._on_screen else LINE_EVERY_S
        if self._drawn is None or now >= self._drawn + every:
            self._drawn = now
            self._rates.update(record, now)
            self._draw(record, now)

    def close(self) -> None:
        if self._on_screen:
            self._write("\x1b[?25h\x1b[?1049l")

    def _draw_screen(self, record: Record, now: float) -> None:
        height = shutil.get_terminal_size().lines
        lines = screen(self._setting, record, self._rates, now)[:height]
        # One write that overdraws what is there: clearing first would flicker.
        self._write("\x1b[H\x1b[?7l" + "\x1b[K\r\n".join(lines) + "\x1b[K\x1b[J\x1b[?7h")

    def _draw_line(self, record: Record, now: float) -> None:
        self._write(line(self._setting, record, self._rates, now) + "\n")

    @staticmethod
    def _write(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()
