# SPDX-License-Identifier: MIT
"""The heap of a process that has been at work, as it lies in memory."""

import re
import sys
from pathlib import Path

from child import ChildError, running
from file_pages import PAGE_BYTES

SAMPLE = Path(__file__).with_name("heap_sample.py")
# Private and writable, of no file: the heap, and what malloc and Python have mapped for it.
HEAP_MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) rw-p \S+ 00:00 0\s*(\[heap\])?$")


def _read_heap(pid: int) -> bytes:
    content = bytearray()
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps, \
            open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            mapping = HEAP_MAPPING.match(line.rstrip("\n"))
            if mapping:
                start, end = (int(address, 16) for address in mapping.groups()[:2])
                memory.seek(start)
                content += memory.read(end - start)
    return bytes(content)


def _heap_of(command: list[str], environment: dict[str, str]) -> list[bytes]:
    with running(command, environment, same_addresses=True) as child:
        said = child.stdout.readline()
        if said != "ready\n":
            raise ChildError(f"{command[0]} failed: {said}{child.stdout.read()}".rstrip())
        heap = _read_heap(child.pid)
    return [heap[start:start + PAGE_BYTES] for start in range(0, len(heap), PAGE_BYTES)]


def python_heap_pages(mib: int, seed: int) -> list[bytes]:
    command = [sys.executable, "-B", str(SAMPLE), str(seed), str(mib)]
    return _heap_of(command, {"PYTHONHASHSEED": str(seed % 2**32)})


def cpp_heap_pages(build: Path, mib: int, seed: int) -> list[bytes]:
    return _heap_of([str(build / "tests/bench/heap_sample"), str(seed), str(mib)], {})
