#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""heap_sample.py SEED MIB: fills its heap with what a Python server has in it, says "ready" and
waits for the end of its input. heap.py reads the heap meanwhile."""

import ast
import json
import os
import random
import sys
import sysconfig
from array import array
from pathlib import Path
from typing import Any

from records import customer, order

MIB = 1 << 20
# In a life with frees, as memory of a server has it.
FORGET_EVERY = 5


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def burst(number: int, sources: list[Path], chance: random.Random) -> list[Any]:
    """What one part of a server has made: neighbouring pages are alike, and distant ones are not.
    """
    customers = [customer(100 * number + i, chance) for i in range(100)]
    orders = [order(400 * number + i, 100 * (number + 1), chance) for i in range(400)]
    parts = [
        lambda: [[0, None, ""] * 500 for _ in range(40)],  # tables that fill only later
        lambda: [customers, {row["reference"]: row for row in orders}],
        lambda: [ast.parse(chance.choice(sources).read_bytes())],
        lambda: [json.dumps(orders[first:first + 20], default=bytes.hex)
                 for first in range(0, len(orders), 20)],
        lambda: [json.loads(json.dumps(row, default=bytes.hex)) for row in orders],
        lambda: [{chance.getrandbits(62): row["payment"] + row["reference"].encode()
                  for row in orders}],
        lambda: [array("d", (chance.gauss(0, 1) for _ in range(64))) for _ in range(40)],
    ]
    return chance.choice(parts)()


def main() -> None:
    seed, mib = (int(argument) for argument in sys.argv[1:])
    chance = random.Random(seed)
    sources = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    end = resident_bytes() + mib * MIB
    kept: list[Any] = []
    number = 0
    while resident_bytes() < end:
        kept += burst(number, sources, chance)
        number += 1
        if number % FORGET_EVERY == 0:
            del kept[chance.randrange(len(kept))::10]
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
