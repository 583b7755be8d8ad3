# SPDX-License-Identifier: MIT
"""Where the swapped pages of a VM are, as its swap state says (hostd/page/); ebbd is not asked."""

import os
from array import array
from dataclasses import dataclass, field
from pathlib import Path

from sampler import RECORDS_MEMFD, WORDS_MEMFD, memfd_name

SWAPPED = 5
STATE_MASK = 0xf
ID_SHIFT = 32
ZERO_PAGE = (1 << 32) - 1
WORDS_OF_RECORD = 2
TIER_MASK = 0x7
POOL = 2
DISK = 3
BLOCK_SHIFT = 30
BLOCK_MASK = (1 << 30) - 1


@dataclass
class Placement:
    pool: list[int] = field(default_factory=list)  # pages, by their number in the VM
    disk: list[int] = field(default_factory=list)
    blocks: set[int] = field(default_factory=set)  # of the disk


def placement(ebbd_pid: int) -> Placement:
    """Of an ebbd with one VM. It goes on meanwhile, so that some are not there any more."""
    words, records = _content(ebbd_pid, WORDS_MEMFD), _content(ebbd_pid, RECORDS_MEMFD)
    found = Placement()
    for page, word in enumerate(words):
        if word & STATE_MASK != SWAPPED or word >> ID_SHIFT == ZERO_PAGE:
            continue
        location = records[WORDS_OF_RECORD * (word >> ID_SHIFT)]
        if location & TIER_MASK == POOL:
            found.pool.append(page)
        elif location & TIER_MASK == DISK:
            found.disk.append(page)
            found.blocks.add(location >> BLOCK_SHIFT & BLOCK_MASK)
    return found


def _content(pid: int, memfd: str) -> array:
    for file in Path(f"/proc/{pid}/fd").iterdir():
        if memfd_name(os.readlink(file)) == memfd:
            words = array("Q")
            words.frombytes(file.read_bytes())
            return words
    raise FileNotFoundError(f"process {pid} has no {memfd}")
