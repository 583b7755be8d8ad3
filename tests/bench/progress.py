# SPDX-License-Identifier: MIT
"""What is going on, for somebody who waits: one line on a terminal, else a line per step."""

import os
import signal
import sys


class Progress:
    def __init__(self, halt_at: str | None = None) -> None:
        """`halt_at`: for tests, a step at which this process is halted, until a SIGCONT."""
        self._halt_at = halt_at
        self._one_line = sys.stderr.isatty()
        self._step = ""

    def step(self, text: str) -> None:
        self._step = text
        if self._one_line:
            self._show(text)
        else:
            print(f"bench: {text}", file=sys.stderr, flush=True)
        if self._halt_at and self._halt_at in text:
            os.kill(os.getpid(), signal.SIGSTOP)

    def part(self, done: int, whole: int) -> None:
        """Of the step, on a terminal."""
        if self._one_line:
            self._show(f"{self._step}: {100 * done // max(whole, 1)} %")

    def end(self) -> None:
        if self._one_line:
            self._show("")

    @staticmethod
    def _show(text: str) -> None:
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
