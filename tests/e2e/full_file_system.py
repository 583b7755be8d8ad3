# SPDX-License-Identifier: MIT
"""A loop device on a sparse file whose file system has no room for all of it."""

import os
import subprocess
from pathlib import Path

from sizes import MIB

OWN_BYTES = 32 * MIB  # what ext4 needs for itself


class FullFileSystem:
    """What takes the room is a file of ours. With direct I/O: without it a loop device says that a
    write succeeded which found no more room half-way (Linux 6.18, with no ebbd around)."""

    def __init__(self, folder: Path, size: int, room: int) -> None:
        """Raises OSError or CalledProcessError where this machine has no loop devices or ext4."""
        self._device_file = self._filler = -1
        image, mount = folder / "ext4.img", folder / "ext4.mount"
        mount.mkdir()
        with image.open("wb") as file:
            file.truncate(size + OWN_BYTES)
        self._run("mkfs.ext4", "-q", "-m", "0", str(image))
        self._run("mount", "-o", "loop", str(image), str(mount))
        try:
            content = mount / "content.img"
            with content.open("wb") as file:
                file.truncate(size)
            self._fill(mount, room)
            self.device = Path(self._run("losetup", "--find", "--show", "--direct-io=on",
                                         str(content)))
        finally:
            # What is open stays.
            self._run("umount", "--lazy", str(mount))
            image.unlink()

    def hold(self) -> None:
        """Once it is open: nothing stays behind when the processes that have it open end."""
        self._device_file = os.open(self.device, os.O_RDONLY)
        self._run("losetup", "--detach", str(self.device))

    def make_room(self) -> None:
        os.ftruncate(self._filler, 0)

    def remove(self) -> None:
        """After whoever had it open has ended."""
        if self._device_file < 0:
            self._run("losetup", "--detach", str(self.device))
        else:
            os.close(self._device_file)
        os.close(self._filler)

    def _fill(self, mount: Path, room: int) -> None:
        self._filler = os.open(mount / "filler", os.O_RDWR | os.O_CREAT)
        free = os.statvfs(mount)
        os.posix_fallocate(self._filler, 0, free.f_bavail * free.f_frsize - room)

    @staticmethod
    def _run(*command: str) -> str:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
