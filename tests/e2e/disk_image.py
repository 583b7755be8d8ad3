# SPDX-License-Identifier: MIT
"""The guest's disk: an image on a file system that takes O_DIRECT, as cache=none needs it."""

import os
import subprocess
import tempfile
from pathlib import Path

from process import User, as_user
from sizes import MIB


class DiskImageError(Exception):
    """Says where it was tried."""


def create(folders: list[Path], size: int, user: User) -> Path:
    """In the first folder where `user` can use it with O_DIRECT (tmpfs cannot before Linux 6.6)."""
    for folder in folders:
        image = _create_in(folder, user)
        usable = False
        try:
            usable = _write_all(image, size, user)
        finally:
            if not usable:
                image.unlink()
        if usable:
            return image
    raise DiskImageError(
        f"no file system takes O_DIRECT in any of {', '.join(map(str, folders))}: set TMPDIR to a "
        "folder on a local disk")


def _create_in(folder: Path, user: User) -> Path:
    descriptor, name = tempfile.mkstemp(prefix="disk-", suffix=".img", dir=folder)
    os.fchown(descriptor, user.uid, user.gid)
    os.close(descriptor)
    return Path(name)


def _write_all(image: Path, size: int, user: User) -> bool:
    """Whether it worked, done as that user: it must also reach the folder. All is written, so that
    the guest's flushes never wait for the file system to allocate something."""
    writing = subprocess.run(
        ["dd", "if=/dev/zero", f"of={image}", f"bs={MIB}", f"count={size // MIB}",
         "oflag=direct", "conv=notrunc,nocreat,fsync"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False, **as_user(user))
    return writing.returncode == 0
