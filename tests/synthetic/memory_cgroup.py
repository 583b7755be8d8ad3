# SPDX-License-Identifier: MIT
"""A memory cgroup of one's own, in version 2 of the kernel's interface or in version 1."""

import os
from collections.abc import Callable
from pathlib import Path

from waiting import wait_until

VERSION_2 = Path("/sys/fs/cgroup")
VERSION_1 = Path("/sys/fs/cgroup/memory")
REMOVE_S = 10
CAP_SYS_RESOURCE = 24


def has_version_2() -> bool:
    controllers = VERSION_2 / "cgroup.controllers"
    return controllers.exists() and "memory" in controllers.read_text().split()


def why_not() -> str:
    """Empty where there is a memory controller for us."""
    if os.geteuid() != 0:
        return "needs root"
    folder = VERSION_2 if has_version_2() else VERSION_1
    if not (folder / "cgroup.procs").exists():
        return "there is no memory controller: neither of cgroup v2 nor of v1"
    if not os.access(folder, os.W_OK) or os.statvfs(folder).f_flag & os.ST_RDONLY:
        return f"{folder} is read-only"
    if has_version_2() and not may_lower_oom_score():
        return "without CAP_SYS_RESOURCE no process can be kept from the OOM killer"
    return ""


def may_lower_oom_score() -> bool:
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return bool(int(lines["CapEff"], 16) >> CAP_SYS_RESOURCE & 1)


class MemoryCgroup:
    """A context; whoever is in it must be gone at its end."""

    def __init__(self, name: str) -> None:
        self.is_version_2 = has_version_2()
        self._folder = (VERSION_2 if self.is_version_2 else VERSION_1) / name

    def __enter__(self) -> "MemoryCgroup":
        if self.is_version_2:
            (VERSION_2 / "cgroup.subtree_control").write_text("+memory")
        self._folder.mkdir()
        if not self.is_version_2:
            # Who finds no memory waits or is told so; nobody is killed for it.
            self._write("memory.oom_control", "1")
        return self

    def __exit__(self, *_: object) -> None:
        wait_until(self._is_empty, REMOVE_S, f"{self._folder} is empty")
        self._folder.rmdir()

    def join(self) -> Callable[[], None]:
        """For preexec_fn: the new process, and all that comes of it, is in the cgroup. In version 2
        only its own score keeps the kernel from killing it."""
        def prepare() -> None:
            if self.is_version_2:
                Path("/proc/self/oom_score_adj").write_text("-1000")
            self._write("cgroup.procs", "0")
        return prepare

    def used_bytes(self) -> int:
        return int(self._read("memory.current" if self.is_version_2 else "memory.usage_in_bytes"))

    def limit(self, to_bytes: int) -> None:
        self._write("memory.max" if self.is_version_2 else "memory.limit_in_bytes", str(to_bytes))

    def times_full(self) -> int:
        """How often its limit was met."""
        if self.is_version_2:
            return self._counts("memory.events")["max"]
        return int(self._read("memory.failcnt"))

    def killed(self) -> int:
        """Processes that the kernel has killed to make room."""
        return self._counts("memory.events" if self.is_version_2
                            else "memory.oom_control")["oom_kill"]

    def _is_empty(self) -> bool:
        return not self._read("cgroup.procs").split()

    def _counts(self, file: str) -> dict[str, int]:
        return {key: int(value) for key, value in map(str.split, self._read(file).splitlines())}

    def _read(self, file: str) -> str:
        return (self._folder / file).read_text()

    def _write(self, file: str, text: str) -> None:
        (self._folder / file).write_text(text)
