# SPDX-License-Identifier: MIT
"""The processes of a run: started so that they cannot outlive it, ended one by one by their id."""

import ctypes
import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PR_SET_PDEATHSIG = 1
ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_libc = ctypes.CDLL(None)


@dataclass(frozen=True)
class User:
    """Who a process runs as."""
    name: str
    uid: int
    gid: int
    group: str
    extra_groups: tuple[int, ...] = ()


ROOT = User("root", 0, 0, "root")


def die_with(parent: int) -> Callable[[], None]:
    """For preexec_fn, which runs after the change of user (that would clear the signal again)."""
    def prepare() -> None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before the call
            os._exit(1)
    return prepare


def as_user(user: User | None) -> dict[str, object]:
    """Popen's arguments for a child that runs as `user` and dies with us."""
    # Our working directory may be closed to that user.
    arguments: dict[str, object] = {"preexec_fn": die_with(os.getpid()), "cwd": "/"}
    if user is not None:
        arguments |= {"user": user.uid, "group": user.gid, "extra_groups": user.extra_groups}
    return arguments


def obey_ending_signals() -> None:
    """All ask for the same as Ctrl-C: end, and clean up."""
    for number in ENDING_SIGNALS:
        signal.signal(number, signal.default_int_handler)


def ignore_ending_signals() -> None:
    """From here on it ends anyway, and a second Ctrl-C must not leave a VM behind."""
    for number in ENDING_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


class Child:
    """A process of ours with a log file. Its own session keeps a terminal's Ctrl-C from it."""

    def __init__(self, name: str, command: list[str], log: Path, user: User | None = None,
                 environment: dict[str, str] | None = None) -> None:
        self.name = name
        self.log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env={**os.environ, **(environment or {})}, start_new_session=True,
                **as_user(user))

    @property
    def pid(self) -> int:
        return self._process.pid

    def death(self) -> str | None:
        """None while it lives, else how it ended."""
        code = self._process.poll()
        if code is None:
            return None
        if code < 0:
            return f"{self.name} was killed by {signal.Signals(-code).name}"
        return f"{self.name} exited with status {code}"

    def wait(self, seconds: float) -> bool:
        """Whether it ended in time."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def stop(self, seconds: float) -> str | None:
        """SIGTERM, and SIGKILL after `seconds`. Says so if it had to be killed."""
        self._process.terminate()
        if self.wait(seconds):
            return None
        self.kill()
        return f"{self.name} did not stop within {seconds:.0f} s and was killed"
