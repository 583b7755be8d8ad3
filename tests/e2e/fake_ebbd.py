# SPDX-License-Identifier: MIT
"""tests/hostd/control/fake_ebbd.cc, in a temporary folder: real control servers without VMs."""

import os
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

from process import die_with

END_S = 20


class FakeEbbd:
    """A context: it ends with it, and its folder goes."""

    def __init__(self, build: Path) -> None:
        self._program = build / "tests/hostd/control/fake_ebbd"
        self._folder = tempfile.TemporaryDirectory(prefix="ebb-fake-")
        self.folder = Path(self._folder.name)
        self.control_socket = self.folder / "control.sock"
        self.status_socket = self.folder / "status.sock"

    def __enter__(self) -> "FakeEbbd":
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.end()
        self._folder.cleanup()

    def start(self) -> None:
        """Returns when it serves."""
        self._process = subprocess.Popen([str(self._program), str(self.folder)],
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         preexec_fn=die_with(os.getpid()))
        assert self._process.stdout is not None
        if self._process.stdout.readline() != b"ready\n":
            raise RuntimeError(f"{self._program} does not serve")

    def end(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(END_S)
        self._process.stdout.close()
