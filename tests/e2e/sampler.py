# SPDX-License-Identifier: MIT
"""Measures from outside, every 100 ms, what the VM costs the host. Nothing here asks ebbd."""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from sizes import KIB

INTERVAL_S = 0.1
_BLOCK_BYTES = 512  # what st_blocks counts, whatever the file system

RAM_MEMFD = "memory-backend-memfd"
POOL_MEMFD = "ebb-pool"
WORDS_MEMFD = "ebb-words"
RECORDS_MEMFD = "ebb-records"


@dataclass(frozen=True)
class Sample:
    time: float
    resident_bytes: int  # guest RAM that the host backs
    pool_bytes: int
    word_bytes: int
    record_bytes: int
    ebbd_bytes: int      # ebbd's own memory
    qemu_bytes: int      # QEMU's own memory: it needs that with Ebb and without

    @property
    def host_bytes(self) -> int:
        """All that the host spends on the guest's memory."""
        return (self.resident_bytes + self.pool_bytes + self.word_bytes + self.record_bytes
                + self.ebbd_bytes)


def memfd_name(link: str) -> str | None:
    """The name of the memfd a link in /proc/PID/fd points to; None for any other file."""
    if not link.startswith("/memfd:"):
        return None
    return link.removeprefix("/memfd:").removesuffix(" (deleted)")


def memfd_bytes(pid: int) -> dict[str, int]:
    """What the memfds of a process take, by name. A memfd held twice counts once."""
    folder = f"/proc/{pid}/fd"
    seen: set[int] = set()
    sizes: dict[str, int] = {}
    for entry in os.listdir(folder):
        path = f"{folder}/{entry}"
        try:
            name = memfd_name(os.readlink(path))
            if name is None:
                continue
            status = os.stat(path)
        except FileNotFoundError:  # closed meanwhile
            continue
        if status.st_ino not in seen:
            seen.add(status.st_ino)
            sizes[name] = sizes.get(name, 0) + status.st_blocks * _BLOCK_BYTES
    return sizes


def parse_smaps_rollup(text: str) -> dict[str, int]:
    """Bytes by field."""
    fields: dict[str, int] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) == 3 and words[2] == "kB":
            fields[words[0].rstrip(":")] = int(words[1]) * KIB
    return fields


def own_bytes(smaps: dict[str, int]) -> int:
    """A process's memory without what it maps of memfds: those are counted by their blocks, mapped
    or not, and nothing may count twice. Pss shares out what several processes map (libc)."""
    return smaps["Pss_Anon"] + smaps["Pss_File"]


def _smaps_rollup(pid: int) -> dict[str, int]:
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        return parse_smaps_rollup(file.read())


def take_sample(qemu_pid: int, ebbd_pid: int) -> Sample:
    """Raises OSError if one of them is gone."""
    state = memfd_bytes(ebbd_pid)
    return Sample(
        time=time.monotonic(),
        resident_bytes=memfd_bytes(qemu_pid).get(RAM_MEMFD, 0),
        pool_bytes=state.get(POOL_MEMFD, 0),
        word_bytes=state.get(WORDS_MEMFD, 0),
        record_bytes=state.get(RECORDS_MEMFD, 0),
        ebbd_bytes=own_bytes(_smaps_rollup(ebbd_pid)),
        qemu_bytes=own_bytes(_smaps_rollup(qemu_pid)))


class Sampler:
    """Samples on a thread of its own until a process is gone or stop() is called."""

    def __init__(self, qemu_pid: int, ebbd_pid: int, on_sample: Callable[[Sample], None]) -> None:
        self._pids = (qemu_pid, ebbd_pid)
        self._on_sample = on_sample
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self._thread.start()

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stopped.wait(max(0.0, due - time.monotonic())):
            due = max(due + INTERVAL_S, time.monotonic())
            try:
                self._on_sample(take_sample(*self._pids))
            except (OSError, KeyError):  # a process ended, or is ending and has no memory any more
                return
