# SPDX-License-Identifier: MIT
"""The group `engine`: ebbd's engine without a VM, beside the kernel's zram."""

import json
import mmap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import page_data
import zram
from child import ChildError, running
from command_line import Options
from figure import Anchor, Figure
from file_pages import PAGE_BYTES
from leftovers import Leftovers
from progress import Progress
from sizes import MIB

PROGRAMS = ("tests/bench/engine", "tests/bench/heap_sample")
ZRAM = f"zram {zram.COMPRESSOR}"

# The sizes of a trial: enough to see that all of it works, too small for figures that mean much.
TRIAL_BYTES = 4 * MIB
TRIAL_ARGUMENTS = ["--filled-pages", "2048", "--changed-pages", "1024", "--lookup-pages", "4096",
                   "--rounds", "3"]


@dataclass
class _Report:
    """What the program said."""
    figures: list[Figure] = field(default_factory=list)
    counts: dict[str, list[int]] = field(default_factory=dict)


def _read(line: str, report: _Report, progress: Progress) -> None:
    said: dict[str, Any] = json.loads(line)
    if "progress" in said:
        progress.step(said["progress"])
    elif "counts" in said:
        report.counts[said["counts"]] = said["values"]
    else:
        report.figures.append(Figure(**said))


def _run_program(options: Options, data: Path, stored: Path, progress: Progress) -> _Report:
    command = [str(options.build / PROGRAMS[0]), "--pages", str(data),
               "--kinds", str(page_data.kinds_of(data)), "--stored", str(stored),
               "--seed", str(options.seed), *(TRIAL_ARGUMENTS if options.trial else [])]
    report = _Report()
    complaints = []
    with running(command) as program:
        for line in program.stdout:
            if line.startswith("{"):
                _read(line, report, progress)
            else:
                complaints.append(line)
        if program.wait() != 0:
            raise ChildError(f"{PROGRAMS[0]} ended with status {program.returncode}: "
                             f"{''.join(complaints).rstrip()}")
    return report


def _measure_zram(data: Path, stored: Path, leftovers: Leftovers,
                  progress: Progress) -> zram.ZramUse:
    with data.open("rb") as file, \
            mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as content, \
            memoryview(content) as view:
        data_pages = len(content) // PAGE_BYTES
        starts = [int(line) % data_pages * PAGE_BYTES
                  for line in stored.read_text(encoding="ascii").split()]
        pages = [view[start:start + PAGE_BYTES] for start in starts]
        try:
            return zram.measure(pages, leftovers, progress)
        finally:
            for page in pages:
                page.release()


def _with_anchors(figures: list[Figure], use: zram.ZramUse) -> list[Figure]:
    anchors = {"pool_overhead_ratio": use.overhead, "pool_bytes_vs_zram": use.bytes_per_page}
    return [Figure(figure.name, figure.value, figure.unit, Anchor(ZRAM, anchors[figure.name]))
            if figure.name in anchors else figure for figure in figures]


def _data_note(options: Options, data: Path, report: _Report) -> str:
    counts = report.counts
    pages = data.stat().st_size // PAGE_BYTES
    sizes = counts["sizes"]
    shares = " ".join(f"{100 * count / sum(sizes):.1f}" for count in sizes)
    no_storage, not_stored = (100 * counts[name][0] / pages
                              for name in ("no_storage", "not_stored"))
    return (f"Data: {pages:,} pages, seed {options.seed}. {no_storage:.0f} % need no storage, "
            f"{not_stored:.0f} % were not taken.\n"
            f"The others have objects of {counts['median'][0]:,} bytes in the median; in steps of "
            f"512 bytes,\nso many percent: {shares}")


def measure(options: Options, leftovers: Leftovers,
            progress: Progress) -> tuple[list[Figure], list[str]]:
    """Figures, and what else there is to say."""
    folder = leftovers.folder()
    data, stored = folder / "data", folder / "stored"
    order = page_data.Order(options.build, TRIAL_BYTES if options.trial else
                            page_data.DEFAULT_BYTES, options.seed)
    page_data.make(order, data, progress.step)
    report = _run_program(options, data, stored, progress)
    notes = [_data_note(options, data, report)]
    try:
        figures = _with_anchors(report.figures, _measure_zram(data, stored, leftovers, progress))
    except zram.NoZramError as error:
        figures = report.figures
        notes.append(f"zram was not measured: {error}.")
    return figures, notes
