# SPDX-License-Identifier: MIT
"""A newer QEMU than Debian 12's: its backport, downloaded and unpacked, never installed. It runs on
the libraries of Debian 12."""

import contextlib
import os
import shutil
import sys
from pathlib import Path

import debian_package
from debian_package import Apt
from folders import give_to_owner
from options import REPOSITORY

RELEASE = "bookworm-backports"
PACKAGES = ("qemu-system-x86", "qemu-system-common", "qemu-system-data")
FOLDER = REPOSITORY / "build/packages" / RELEASE
PROGRAM = Path("usr/bin/qemu-system-x86_64")


def fetch_qemu(target: Path) -> Path:
    """Makes the folder `target`, which every user can read. The program in it."""
    apt = Apt.of_release(RELEASE, FOLDER / "apt")
    with contextlib.redirect_stdout(sys.stderr):  # it may have news, which are no TAP
        unpacked = [debian_package.fetch(name, FOLDER / name, apt) for name in PACKAGES]
    if os.geteuid() == 0:
        give_to_owner(FOLDER)
    # In one tree: QEMU looks for its modules beside itself.
    for folder in unpacked:
        shutil.copytree(folder, target, symlinks=True, dirs_exist_ok=True)
    return target / PROGRAM
