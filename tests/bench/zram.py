# SPDX-License-Identifier: MIT
"""The kernel's zram: pages compressed in memory, as Ebb's pool keeps them. An anchor."""

import errno
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from child import run
from leftovers import Leftovers, ending_signals_held
from progress import Progress

CONTROL = Path("/sys/class/zram-control")
COMPRESSOR = "lz4"
# Of one writev(2).
PAGES_PER_WRITE = 1024
# Whoever looks at new devices, udev for one, may have it open for a moment.
REMOVE_S = 10


class NoZramError(Exception):
    """There is none to be had here; says why."""


@dataclass(frozen=True)
class ZramUse:
    """For what was written; see the kernel's Documentation/admin-guide/blockdev/zram.rst."""
    pages: int
    object_bytes: int  # compr_data_size
    used_bytes: int    # mem_used_total: with what its allocator wastes, without its table

    @property
    def bytes_per_page(self) -> float:
        return self.used_bytes / self.pages

    @property
    def overhead(self) -> float:
        return self.used_bytes / self.object_bytes - 1


class _Module:
    """The kernel's module, where it is one and was not loaded: for as long as we need it."""

    def __init__(self) -> None:
        self._loaded = False

    def load(self) -> None:
        if CONTROL.exists():
            return
        self._loaded = True  # at first: then it is unloaded also where a signal comes in between
        try:
            # Without the device that it makes by itself.
            run(["modprobe", "zram", "num_devices=0"])
        except OSError as error:
            self._loaded = False
            raise NoZramError("this kernel has none, or cannot load it") from error

    def unload(self) -> None:
        if self._loaded:
            run(["modprobe", "-r", "zram"])
            self._loaded = False


class _Device:
    """A device of our own; those that are there already are left alone."""

    def __init__(self) -> None:
        self._number: int | None = None

    @property
    def _settings(self) -> Path:
        return Path(f"/sys/block/zram{self._number}")

    def create(self) -> None:
        with ending_signals_held():
            self._number = int((CONTROL / "hot_add").read_text(encoding="ascii"))

    def remove(self) -> None:
        with ending_signals_held():
            if self._number is None:
                return
            end = time.monotonic() + REMOVE_S
            while True:
                try:
                    (CONTROL / "hot_remove").write_text(str(self._number), encoding="ascii")
                    break
                except OSError as error:
                    if error.errno != errno.EBUSY or time.monotonic() > end:
                        raise
                # style-ok(sleep): nobody says when it is closed; with a deadline
                time.sleep(0.1)
            self._number = None

    def set_up(self, size_bytes: int) -> None:
        available = (self._settings / "comp_algorithm").read_text(encoding="ascii")
        if COMPRESSOR not in available.replace("[", "").replace("]", "").split():
            raise NoZramError(f"this kernel's has no {COMPRESSOR}")
        self._write("comp_algorithm", COMPRESSOR)
        self._write("disksize", str(size_bytes))

    def _write(self, setting: str, value: str) -> None:
        (self._settings / setting).write_text(value, encoding="ascii")

    def store(self, pages: Sequence[memoryview], say: Callable[[int, int], None]) -> None:
        try:
            device = os.open(f"/dev/zram{self._number}", os.O_WRONLY | os.O_DIRECT)
        except FileNotFoundError as error:
            raise NoZramError("nobody makes device files here") from error
        try:
            for first in range(0, len(pages), PAGES_PER_WRITE):
                say(first, len(pages))
                batch = pages[first:first + PAGES_PER_WRITE]
                if os.writev(device, batch) != sum(map(len, batch)):
                    raise NoZramError("it has no memory for the pages")
        finally:
            os.close(device)

    def use(self, pages: int) -> ZramUse:
        fields = (self._settings / "mm_stat").read_text(encoding="ascii").split()
        return ZramUse(pages, int(fields[1]), int(fields[2]))


def measure(pages: Sequence[memoryview], leftovers: Leftovers, progress: Progress) -> ZramUse:
    """What zram makes of the pages, which must be aligned to pages in memory."""
    if os.geteuid() != 0:
        raise NoZramError("that needs root")
    module, device = _Module(), _Device()
    leftovers.add("the kernel module zram", module.unload)
    leftovers.add("a zram device", device.remove)
    module.load()
    try:
        device.create()
        progress.step("zram keeps the same pages")
        device.set_up(sum(map(len, pages)))
        device.store(pages, progress.part)
        return device.use(len(pages))
    except OSError as error:
        raise NoZramError(str(error)) from error
    finally:
        device.remove()
        module.unload()
