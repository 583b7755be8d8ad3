# SPDX-License-Identifier: MIT
"""A synthetic VM (synthetic_vm.cc says what that is), and its commands."""

import json
import os
import select
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from process import die_with
from waiting import Late

Report = dict[str, Any]

ANSWER_S = 20
# It fills and verifies all of its memory, and gives up by itself after 60 s.
WHOLE_MEMORY_S = 70


@dataclass(frozen=True)
class Settings:
    name: str
    ram_mib: int
    seed: int
    loader: str = "plugin"  # or preload
    signals: bool = False
    keep_own_memory: bool = False
    prepare: Callable[[], None] = lambda: None  # its process, before it is one of a VM


class SyntheticVm:
    def __init__(self, build: Path, folder: Path, settings: Settings) -> None:
        self.name = settings.name
        self.log = folder / f"{settings.name}.log"
        qmp = folder / f"{settings.name}.qmp"
        options = {"socket": str(folder / "handover.sock"), "name": settings.name, "qmp": str(qmp),
                   "qemu": "any"}  # it has no version
        command = [str(build / "tests/synthetic/qemu-system-synthetic"),
                   "--ram-mib", str(settings.ram_mib), "--seed", str(settings.seed),
                   "--qmp", str(qmp), "--disk-folder", str(build), "--disk-folder", "/var/tmp"]
        if settings.signals:
            command.append("--signals")
        if settings.keep_own_memory:
            command.append("--keep-own-memory")
        library = str(build / "qemu-plugin/libebb-qemu.so")
        environment = dict(os.environ)
        if settings.loader == "preload":
            environment |= {f"EBB_{key.upper()}": value for key, value in options.items()}
            environment["LD_PRELOAD"] = library
        else:
            command += ["--plugin", library]
            for key, value in options.items():
                command += ["--plugin-argument", f"{key}={value}"]
        die_with_us = die_with(os.getpid())

        def prepare() -> None:
            die_with_us()
            settings.prepare()
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                env=environment, start_new_session=True, preexec_fn=prepare)
        self._received = b""

    @property
    def pid(self) -> int:
        return self._process.pid

    def await_filled(self) -> Report:
        return self._answer("its start", WHOLE_MEMORY_S)

    def hammer(self) -> Report:
        return self.order("hammer")

    def verify(self) -> Report:
        return self.order("verify", WHOLE_MEMORY_S)

    def slow(self, rounds: int, milliseconds: int) -> Report:
        return self.order(f"slow {rounds} {milliseconds}")

    def report(self) -> Report:
        return self.order("report")

    def quit(self) -> None:
        """In the middle of whatever it does."""
        self._write("quit")
        self._process.wait(ANSWER_S)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(ANSWER_S)

    def order(self, command: str, seconds: float = ANSWER_S) -> Report:
        self._write(command)
        return self._answer(command, seconds)

    def _write(self, command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n".encode())
        self._process.stdin.flush()

    def _answer(self, to: str, seconds: float) -> Report:
        assert self._process.stdout is not None
        deadline = time.monotonic() + seconds
        while b"\n" not in self._received:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._process.stdout], [], [], left)[0]:
                raise Late(f"{self.name} did not answer '{to}' within {seconds:.0f} s")
            more = os.read(self._process.stdout.fileno(), 65536)
            if not more:
                raise Late(f"{self.name} died instead of answering '{to}': "
                           f"status {self._process.wait(ANSWER_S)}\n{self.log.read_text()}")
            self._received += more
        line, _, self._received = self._received.partition(b"\n")
        return json.loads(line)
