# SPDX-License-Identifier: MIT
"""Builds what a bench runs."""

import os
from pathlib import Path

from child import run
from command_line import REPOSITORY


def _as_owner() -> list[str]:
    """What is built belongs to whoever called sudo, if the clone does."""
    user = os.environ.get("SUDO_USER")
    if os.geteuid() == 0 and user and REPOSITORY.owner() == user:
        return ["runuser", "-u", user, "--"]
    return []


def build(folder: Path, programs: tuple[str, ...]) -> None:
    """In the build folder of ./run, with its settings."""
    if not (folder / "build.ninja").exists():
        run([*_as_owner(), "meson", "setup", str(folder), str(REPOSITORY),
             "--buildtype=debugoptimized"])
    run([*_as_owner(), "ninja", "-C", str(folder), "--quiet", *programs])
