# SPDX-License-Identifier: MIT
"""Waiting for something, with a deadline."""

import time
from collections.abc import Callable

POLL_S = 0.05


class Late(Exception):
    """It did not happen in time."""


def wait_until(happened: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            raise Late(f"not within {seconds:.0f} s: {what}")
        time.sleep(POLL_S)  # style-ok(sleep): polls, with a deadline
