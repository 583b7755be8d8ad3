# SPDX-License-Identifier: MIT
"""What a bench has made and must not leave behind, however it ends."""

import contextlib
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from process import ENDING_SIGNALS, ignore_ending_signals


class Stopped(BaseException):
    """A signal asked for the end."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.name = signal.Signals(number).name
        self.exit_status = 128 + number  # as a shell has it


def obey_first_ending_signal() -> None:
    """Only the first one raises: nothing can interrupt the cleaning up that follows."""
    def stop(number: int, _frame: object) -> None:
        ignore_ending_signals()
        raise Stopped(number)
    for number in ENDING_SIGNALS:
        signal.signal(number, stop)


@contextlib.contextmanager
def ending_signals_held() -> Iterator[None]:
    """For what must not be interrupted in between. A process started in here would inherit it."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


class Leftovers:
    """Removed in the order opposite to the one in which they came."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()

    def add(self, what: str, remove: Callable[[], None]) -> None:
        """`remove` is called in the end, also for what was never made or is removed already."""
        def remove_or_say() -> None:
            try:
                remove()
            except OSError as error:
                print(f"bench: could not remove {what}: {error}", file=sys.stderr)
        self._stack.callback(remove_or_say)

    def folder(self) -> Path:
        with ending_signals_held():
            folder = Path(tempfile.mkdtemp(prefix="ebb-bench-"))
            self.add(str(folder), lambda: shutil.rmtree(folder))
        return folder

    def remove(self) -> None:
        self._stack.close()
