#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Touches pages of another process and says how long each took.

touching.py PID: reads lines of addresses, reads a byte at each, one after the other, and answers
with a line of microseconds."""

import ctypes
import os
import select
import subprocess
import sys
import time

from process import die_with

ANSWER_S = 20
_libc = ctypes.CDLL(None, use_errno=True)


class Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class Toucher:
    """A process of its own: one that waits for a page that does not come can be killed."""

    def __init__(self, pid: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-B", __file__, str(pid)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, bufsize=1, preexec_fn=die_with(os.getpid()))

    def touch(self, addresses: list[int]) -> list[float]:
        """Milliseconds. Raises TimeoutError if they do not come."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(" ".join(map(str, addresses)) + "\n")
        if not select.select([self._process.stdout], [], [], ANSWER_S)[0]:
            raise TimeoutError(f"pages did not come within {ANSWER_S} s")
        return [int(word) / 1000 for word in self._process.stdout.readline().split()]

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


def touch(pid: int, address: int) -> int:
    byte = ctypes.create_string_buffer(1)
    here, there = Iovec(ctypes.addressof(byte), 1), Iovec(address, 1)
    started = time.monotonic_ns()
    # Unlike /proc/PID/mem it waits for a page.
    if _libc.process_vm_readv(pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0) != 1:
        raise OSError(ctypes.get_errno(), f"process {pid} at {address:#x}")
    return (time.monotonic_ns() - started) // 1000


def main() -> None:
    pid = int(sys.argv[1])
    for line in sys.stdin:
        print(*(touch(pid, int(address)) for address in line.split()), flush=True)


if __name__ == "__main__":
    main()
