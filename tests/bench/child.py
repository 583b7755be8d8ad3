# SPDX-License-Identifier: MIT
"""Processes of a bench. None outlives it, not even where it is killed."""

import contextlib
import ctypes
import os
import select
import signal
import subprocess
from collections.abc import Callable, Iterator

from process import die_with

ADDR_NO_RANDOMIZE = 0x0040000  # personality(2)
END_S = 5
_libc = ctypes.CDLL(None)


class ChildError(OSError):
    """A process failed."""


def _prepare(same_addresses: bool) -> Callable[[], None]:
    die = die_with(os.getpid())

    def prepare() -> None:
        die()
        if same_addresses:
            _libc.personality(ADDR_NO_RANDOMIZE)  # a sandbox may refuse
    return prepare


@contextlib.contextmanager
def running(command: list[str], environment: dict[str, str] | None = None,
            same_addresses: bool = False) -> Iterator[subprocess.Popen]:
    """A process with pipes for its input and its output (also of errors) as text, and all that it
    starts; ended with the block. `same_addresses`: the same pointers each time, where possible."""
    child = None
    try:
        # Its own session: a terminal's Ctrl-C is ours to act on.
        child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, env={**os.environ, **(environment or {})}, start_new_session=True,
            preexec_fn=_prepare(same_addresses))
        yield child
    finally:
        if child is not None:
            _end(child)


def _end(child: subprocess.Popen) -> None:
    if child.returncode is None:  # else its id may be somebody else's by now
        os.killpg(child.pid, signal.SIGTERM)
        # Until the child is waited for, the id stays that of its group.
        ended = os.pidfd_open(child.pid)
        try:
            select.select([ended], [], [], END_S)
        finally:
            os.close(ended)
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    child.stdin.close()
    child.stdout.close()


def run(command: list[str]) -> None:
    """To its end; what it says is shown only if it fails."""
    with running(command) as child:
        output = child.communicate()[0]
        if child.returncode != 0:
            raise ChildError(f"{' '.join(command)} failed:\n{output.rstrip()}")
