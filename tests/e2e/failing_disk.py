# SPDX-License-Identifier: MIT
"""A block device that stalls, as a StallingDisk, or answers writes or reads with EIO."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from monitor import Monitor
from process import ROOT
from stalling_disk import StallingDisk

EIO = 5


class FailingDisk(StallingDisk):
    EXPORTED = "served"

    def __init__(self, folder: Path, size: int) -> None:
        self._device_file = -1
        super().__init__(folder, size, ROOT)
        self._monitor = Monitor(folder / "storage-daemon.sock")

    @contextlib.contextmanager
    def failing(self, kind: str) -> Iterator[None]:
        """All reads, or all writes. What the host has cached of it is read all the same: see
        forget()."""
        self._serve(f"no-{kind}s")
        try:
            yield
        finally:
            self._serve("content")

    @contextlib.contextmanager
    def stalled(self) -> Iterator[None]:
        self.stall()
        try:
            yield
        finally:
            self.heal()

    def hold(self) -> None:
        """As release(), but it can be opened again until remove()."""
        self._device_file = os.open(self.device, os.O_RDONLY)
        self.release()

    def remove(self) -> None:
        if self._device_file >= 0:
            os.close(self._device_file)
        super().remove()

    def _more_arguments(self, folder: Path) -> list[str]:
        def failing(kind: str) -> str:
            rule = {"event": "none", "iotype": kind, "errno": EIO}
            return json.dumps({"driver": "blkdebug", "node-name": f"no-{kind}s",
                               "image": "content", "inject-error": [rule]})
        return ["--blockdev", failing("read"), "--blockdev", failing("write"),
                # Without limits: a filter whose child can be replaced while it is in use.
                "--object", "throttle-group,id=unlimited",
                "--blockdev", json.dumps(self._filter("content")),
                "--chardev", f"socket,id=qmp,path={folder / 'storage-daemon.sock'},server=on,"
                             "wait=off",
                "--monitor", "chardev=qmp"]

    def _filter(self, child: str) -> dict[str, str]:
        return {"driver": "throttle", "node-name": self.EXPORTED, "throttle-group": "unlimited",
                "file": child}

    def _serve(self, node: str) -> None:
        self._monitor.execute("blockdev-reopen", options=[self._filter(node)])
