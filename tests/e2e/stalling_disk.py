# SPDX-License-Identifier: MIT
"""A block device whose requests can be held up: a loop device on a file that a stopped process
serves."""

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import BinaryIO

from process import Child, User

READY_S = 10
POLL_S = 0.05
STOP_S = 10


class StallingDisk:
    """While it is stalled, no process may be started: the new one closes what we have open of the
    served file, which waits for the stopped process, and so does who starts it."""

    EXPORTED = "content"  # the node

    def __init__(self, folder: Path, size: int, user: User) -> None:
        """Raises OSError or CalledProcessError where this machine has no loop devices or FUSE."""
        content = folder / "stalling.img"
        with content.open("wb") as image:
            os.posix_fallocate(image.fileno(), 0, size)
        self._mount = folder / "stalling.mount"
        self._mount.touch()
        self._daemon = Child("qemu-storage-daemon", [
            "qemu-storage-daemon",
            "--blockdev", f"driver=file,node-name=content,filename={content}",
            *self._more_arguments(folder),
            "--export", f"fuse,id=export,node-name={self.EXPORTED},mountpoint={self._mount},"
                        "writable=on"],
            folder / "storage-daemon.log")
        self._attached = False
        self._served: BinaryIO | None = None
        try:
            self._wait_for_mount(size)
            # Never with --direct-io: that reads and writes the wrong places of a FUSE export (Linux
            # 6.18, QEMU 7.2; with no ebbd around).
            self.device = Path(self._run("losetup", "--find", "--show", str(self._mount)))
            self._attached = True
            self._served = self._mount.open("rb")
            status = self.device.stat()
            self._owner = (status.st_uid, status.st_gid)
            os.chown(self.device, user.uid, user.gid)
        except BaseException:
            self.remove()
            raise

    def release(self) -> None:
        """Once it is open: then nothing stays behind when that process ends."""
        if self._attached:
            self._attached = False
            os.chown(self.device, *self._owner)
            self._run("losetup", "--detach", str(self.device))  # when it is closed
            self._run("umount", "--lazy", str(self._mount))     # the same

    def has_requests(self) -> bool:
        inflight = Path(f"/sys/block/{self.device.name}/inflight").read_text()
        return any(int(count) > 0 for count in inflight.split())

    def forget(self) -> None:
        """What the host has cached would not have to be asked for."""
        assert self._served is not None
        os.posix_fadvise(self._served.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def stall(self) -> None:
        os.kill(self._daemon.pid, signal.SIGSTOP)
        self.forget()

    def heal(self) -> None:
        os.kill(self._daemon.pid, signal.SIGCONT)

    def remove(self) -> None:
        """After whoever had it open has ended."""
        self.heal()
        if self._served:
            self._served.close()
        self.release()
        self._daemon.stop(STOP_S)

    def _more_arguments(self, folder: Path) -> list[str]:
        """Of the process that serves it."""
        return []

    def _wait_for_mount(self, size: int) -> None:
        deadline = time.monotonic() + READY_S
        while self._mount.stat().st_size != size:
            death = self._daemon.death()
            if death or time.monotonic() > deadline:
                said = self._daemon.log.read_text(errors="replace").strip()
                raise OSError(f"{death or 'no FUSE mount in time'}: {said}")
            time.sleep(POLL_S)  # style-ok(sleep): polls with a deadline

    @staticmethod
    def _run(*command: str) -> str:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
