# SPDX-License-Identifier: MIT
"""Damages what ebbd has in its pool, as failing memory would, and heals it again."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

POOL = "/memfd:ebb-pool"
CHUNK_BYTES = 1 << 20
EVERY = 64  # bytes; few objects are so small as not to be hit
# Of them: neither a span's header (at the start of a page) nor whose object it is (at 16 or 48).
HIT_AT = 32


@contextlib.contextmanager
def damaged_pool(ebbd_pid: int) -> Iterator[None]:
    """Nothing may be stored or moved meanwhile: healing would damage it. So lift the VM's limit
    before, and see that ebbd has nothing more to do."""
    pool = _open_pool(ebbd_pid)
    try:
        chunks = list(_chunks(pool))
        _flip(pool, chunks)
        try:
            yield
        finally:
            _flip(pool, chunks)
    finally:
        os.close(pool)


def _open_pool(pid: int) -> int:
    for name in Path(f"/proc/{pid}/fd").iterdir():
        if os.readlink(name).startswith(POOL):
            try:
                return os.open(name, os.O_RDWR)
            except PermissionError:
                continue  # the one for the library
    raise FileNotFoundError(f"process {pid} has no {POOL}")


def _chunks(pool: int) -> Iterator[int]:
    """Where there is something in it."""
    end = os.fstat(pool).st_size
    at = 0
    while at < end:
        try:
            at = os.lseek(pool, at, os.SEEK_DATA) // CHUNK_BYTES * CHUNK_BYTES
        except OSError:  # only a hole is left
            return
        yield at
        at += CHUNK_BYTES


def _flip(pool: int, chunks: list[int]) -> None:
    for at in chunks:
        for offset in range(at + HIT_AT, at + CHUNK_BYTES, EVERY):
            byte = os.pread(pool, 1, offset)
            if byte and byte != b"\0":
                os.pwrite(pool, bytes([byte[0] ^ 0xff]) if byte != b"\xff" else byte, offset)
