# SPDX-License-Identifier: MIT
"""ebbd with its built-in configuration, in a temporary folder."""

from pathlib import Path

from control import Control
from process import Child

STOP_S = 20


class Ebbd(Child):
    def __init__(self, program: Path, folder: Path, log: Path, handover_group: str,
                 control_group: str = "", more_arguments: tuple[str, ...] = ()) -> None:
        self.handover_socket = folder / "handover.sock"
        self.control_socket = folder / "control.sock"
        self.status_socket = folder / "status.sock"
        self.control = Control(self.control_socket)
        super().__init__("ebbd", [str(program), "--runtime-dir", str(folder),
                                  "--handover-group", handover_group,
                                  "--control-group", control_group, *more_arguments], log)

    def is_ready(self) -> bool:
        return all(path.exists() for path in
                   (self.control_socket, self.status_socket, self.handover_socket))
