#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes the bench's data: pages of real content, in the shares of a server's memory, shuffled in
runs of neighbours as a guest's memory is.

usage: PYTHONPATH=tests/e2e page_data.py --build DIR [--size SIZE] [--seed N] FILE

Writes FILE, and FILE.kinds with a letter per page that says what it is. The same seed gives the
same data on the same machine, except for pointers and times in the heaps of processes where a
sandbox has their addresses differ.
"""

import argparse
import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from database import database_pages
from file_pages import PAGE_BYTES, compressed_pages, library_pages, text_pages
from heap import cpp_heap_pages, python_heap_pages
from sizes import MIB, parse_size

DEFAULT_BYTES = 64 * MIB

# Percent of all pages. Of a server's memory 10 to 20 % are zero, and 3 to 5 % were compressed
# already; the rest is such that their LZ4 sizes are spread as widely as those of the seven kinds of
# memory that docs/BENCH.md compares them with.
SHARES = {"l": 20, "t": 19, "p": 22, "c": 14, "d": 6, "x": 4, "0": 15}
NAMES = {"l": "shared libraries", "t": "text", "p": "a Python heap", "c": "a C++ heap",
         "d": "a database", "x": "compressed content", "0": "zero pages"}

RUN_PAGES = 16       # on average
ZERO_RUN_PAGES = 4
# A heap is larger than what is taken of it: part of it is zero, or was never used.
HEAP_SPARE = 1.5

ZERO_PAGE = bytes(PAGE_BYTES)


@dataclass(frozen=True)
class Order:
    """What data to make."""
    build: Path  # where the sample of a C++ heap is
    size_bytes: int = DEFAULT_BYTES
    seed: int = 1


def _heap_mib(pages: int) -> int:
    return int(pages * PAGE_BYTES * HEAP_SPARE) // MIB + 1


def _makers(order: Order, folder: Path) -> dict[str, Callable[[int, random.Random], list[bytes]]]:
    return {
        "l": library_pages,
        "t": text_pages,
        "p": lambda pages, _: python_heap_pages(_heap_mib(pages), order.seed),
        "c": lambda pages, _: cpp_heap_pages(order.build, _heap_mib(pages), order.seed),
        "d": lambda pages, chance: database_pages(folder, pages, chance),
        "x": compressed_pages,
        "0": lambda pages, _: [ZERO_PAGE] * pages,
    }


def _part_of(pages: list[bytes], wanted: int, kind: str) -> list[bytes]:
    """The zero pages among them are not counted here: they have a share of their own."""
    if kind != "0":
        pages = [page for page in pages if page != ZERO_PAGE]
    start = max(len(pages) - wanted, 0) // 2  # where the heaps are neither oldest nor newest
    part = pages[start:start + wanted]
    while part and len(part) < wanted:
        part += part[:wanted - len(part)]
    return part


def _runs(pages: list[bytes], mean: int, chance: random.Random) -> list[list[bytes]]:
    runs = []
    start = 0
    while start < len(pages):
        length = 1 + int(chance.expovariate(1 / (mean - 1)))
        runs.append(pages[start:start + length])
        start += length
    return runs


def make(order: Order, file: Path, say: Callable[[str], None]) -> None:
    chance = random.Random(order.seed)
    total = order.size_bytes // PAGE_BYTES
    runs: list[tuple[str, list[bytes]]] = []
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        for kind, maker in _makers(order, Path(folder)).items():
            say(f"making data: {NAMES[kind]}")
            wanted = total * SHARES[kind] // 100
            if kind == "0":  # also what rounding has left
                wanted = total - sum(len(run) for _, run in runs)
            part = _part_of(maker(wanted, chance), wanted, kind)
            mean = ZERO_RUN_PAGES if kind == "0" else RUN_PAGES
            runs += [(kind, run) for run in _runs(part, mean, chance)]
    chance.shuffle(runs)
    with file.open("wb") as pages:
        for _, run in runs:
            pages.writelines(run)
    kinds_of(file).write_text("".join(kind * len(run) for kind, run in runs), encoding="ascii")


def kinds_of(file: Path) -> Path:
    return file.with_name(file.name + ".kinds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--build", type=Path, required=True, metavar="DIR")
    parser.add_argument("--size", type=parse_size, default=DEFAULT_BYTES)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("file", type=Path)
    arguments = parser.parse_args()
    make(Order(arguments.build, arguments.size, arguments.seed), arguments.file, print)


if __name__ == "__main__":
    main()
