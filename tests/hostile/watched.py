# SPDX-License-Identifier: MIT
"""ebbd as it looks from outside, a VM that behaves well beside it, and the hostile process."""

import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from host import Host
from process import die_with
from synthetic_vm import Settings, SyntheticVm
from tap import Tap
from waiting import Late, wait_until

RAM_MIB = 64
LIMIT_MIB = 32
CHURN_PAGES = 2000
CHURN_S = 60
LINE_S = 30
# How much of a second of CPU ebbd's peers thread (or whichever the act concerns) may use a second.
CPU_MAX = 0.35
MEMORY_MAX_MIB = 24
FILES_MAX = 8
SETTLE_S = 10
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Use:
    """What ebbd has, or has used."""
    cpu_s: float      # of one thread
    at_s: float
    memory_mib: float
    files: int

    @staticmethod
    def of(pid: int, thread: str = "") -> "Use":
        """`thread`: its name, else the one that talks with peers."""
        cpu_ticks = 0
        for task in Path(f"/proc/{pid}/task").iterdir():
            try:
                name, _, rest = (task / "stat").read_text().partition("(")[2].rpartition(")")
            except (FileNotFoundError, ProcessLookupError):  # a thread that has just ended
                continue
            if name == thread or (not thread and task.name == str(pid)):
                fields = rest.split()
                cpu_ticks += int(fields[11]) + int(fields[12])
        status = Path(f"/proc/{pid}/status").read_text()
        rss_kib = int(status.partition("VmRSS:")[2].split()[0])
        return Use(cpu_ticks / TICKS, time.monotonic(), rss_kib / 1024,
                   len(os.listdir(f"/proc/{pid}/fd")))


class Peer:
    """A hostile_peer.py at work."""

    def __init__(self, host: Host, act: str, *arguments: str) -> None:
        self.act = act
        script = Path(__file__).parent / "hostile_peer.py"
        self._process = subprocess.Popen(
            [sys.executable, "-B", str(script), act, str(host.folder / "handover.sock"),
             *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            preexec_fn=die_with(os.getpid()))
        self._received = b""

    @property
    def pid(self) -> int:
        return self._process.pid

    def line(self) -> str:
        """The next one; empty at its end."""
        assert self._process.stdout is not None
        deadline = time.monotonic() + LINE_S
        while b"\n" not in self._received:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._process.stdout], [], [], left)[0]:
                raise Late(f"{self.act} said nothing within {LINE_S} s")
            more = os.read(self._process.stdout.fileno(), 65536)
            if not more:
                break
            self._received += more
        text, _, self._received = self._received.partition(b"\n")
        return text.decode()

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


class Watched:
    """A host with a VM on it that must go on as if nothing were."""

    def __init__(self, tap: Tap, host: Host) -> None:
        self.tap = tap
        self.host = host
        host.start_ebbd()
        self.bystander = host.start_vm(Settings("bystander", RAM_MIB, seed=1))
        self.swap(self.bystander)
        self.started = time.monotonic()

    def swap(self, vm: SyntheticVm) -> None:
        self.host.ebbctl("limit", vm.name, f"{LIMIT_MIB}M")
        vm.hammer()
        wait_until(lambda: self.host.show(vm)["pages_swapped_out"] >= CHURN_PAGES, CHURN_S,
                   f"{vm.name} is swapped out")

    def log(self) -> str:
        return self.host.ebbd.log.read_text()

    def expect_log(self, *parts: str) -> None:
        """One line with all of these."""
        def said() -> bool:
            return any(all(part in line for part in parts) for line in self.log().splitlines())
        try:
            wait_until(said, LINE_S, "a line in ebbd's log")
        except Late:
            pass
        self.tap.check(said(), f"ebbd's log has: {' ... '.join(parts)}")

    def expect_said(self, peer: Peer, *parts: str) -> None:
        said = peer.line()
        right = all(part in said for part in parts)
        self.tap.check(right, f"{peer.act} was told: {' ... '.join(parts)}"
                       + ("" if right else f" (not: {said})"))

    def start(self, act: str, *arguments: str) -> Peer:
        return Peer(self.host, act, *arguments)

    @contextmanager
    def act(self, act: str, *arguments: str, thread: str = "",
            cpu_max: float = CPU_MAX) -> Iterator[Peer]:
        """Runs it, and checks what it has done to ebbd and to the bystander."""
        pid = self.host.ebbd.pid
        before = Use.of(pid, thread)
        swapped = self.host.show(self.bystander)["pages_swapped_in"]
        log_bytes = len(self.log())
        peer = self.start(act, *arguments)
        try:
            yield peer
            during = Use.of(pid, thread)
        finally:
            peer.end()
        cpu = (during.cpu_s - before.cpu_s) / max(0.5, during.at_s - before.at_s)
        try:
            wait_until(lambda: Use.of(pid).files <= before.files, SETTLE_S, "files are closed")
        except Late:
            pass
        after = Use.of(pid)
        name = " ".join([act, *(text for text in arguments if "/" not in text)])
        self.tap.check(cpu <= cpu_max, f"{name}: {100 * cpu:.0f} % of a CPU, "
                       f"{thread or 'peers'} thread, for {during.at_s - before.at_s:.1f} s")
        self.tap.check(max(during.memory_mib, after.memory_mib) - before.memory_mib
                       <= MEMORY_MAX_MIB, f"{name}: {before.memory_mib:.0f} MiB before, "
                       f"{during.memory_mib:.0f} during, {after.memory_mib:.0f} after")
        self.tap.check(after.files <= before.files, f"{name}: ebbd has {after.files} files open, "
                       f"before {before.files}")
        grown = len(self.log()) - log_bytes
        self.tap.check(grown < 16384, f"{name}: {grown} bytes of log")
        self.check_bystander(name, swapped)

    def check_bystander(self, name: str, swapped_before: int) -> None:
        wait_until(lambda: self.host.show(self.bystander)["pages_swapped_in"] > swapped_before,
                   SETTLE_S, f"{name}: the bystander is served")
        report = self.bystander.report()
        self.tap.check(report["wrong"] == 0 and report["failed"] == 0 and not report["stuck"],
                       f"{name}: the bystander goes on, its longest operation "
                       f"{report['longest_ms']} ms")

    def finish(self) -> None:
        self.tap.check(self.host.ebbd.death() is None, "ebbd is alive")
        report = self.bystander.verify()
        self.tap.check(report["wrong"] == 0 and report["failed"] == 0 and "error" not in report,
                       f"all of the bystander's memory is right after {report['operations']} "
                       "operations")
