# SPDX-License-Identifier: MIT
"""ebbd with its built-in configuration, in a temporary folder."""

from pathlib import Path

from control import Control
from process import Child

STOP_S = 20


class Ebbd(Child):
    def __init__(self, program: Path, folder: Path, log: Path, handover_group: str) -> None:
        self.handover_socket = folder / "handover.sock"
        self.control_socket = folder / "control.sock"
        self.control = Control(self.control_socket)
        super().__init__("ebbd", [str(program), "--runtime-dir", str(folder),
                                  "--handover-group", handover_group], log)

    def is_ready(self) -> bool:
        return self.control_socket.exists() and self.handover_socket.exists()
