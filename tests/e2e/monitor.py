# SPDX-License-Identifier: MIT
"""QEMU's monitor (QMP), for one client at a time."""

import json
import socket
from pathlib import Path
from typing import Any

TIMEOUT_S = 10


class MonitorError(Exception):
    """QEMU does not answer, or refused."""


class Monitor:
    def __init__(self, path: Path, timeout_s: float = TIMEOUT_S) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout_s)
        try:
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            raise MonitorError(f"cannot connect to {path}: {error}") from error
        self._lines = self._socket.makefile("r")
        self.execute("qmp_capabilities")

    def execute(self, command: str, **arguments: Any) -> Any:
        """What the command returns. Events are passed over."""
        try:
            request = {"execute": command, "arguments": arguments}
            self._socket.sendall(json.dumps(request).encode())
            for line in self._lines:
                answer = json.loads(line)
                if "error" in answer:
                    raise MonitorError(f"{command}: {answer['error']['desc']}")
                if "return" in answer:
                    return answer["return"]
        except OSError as error:
            raise MonitorError(f"{command}: {error}") from error
        raise MonitorError(f"{command}: QEMU closed the connection")

    def close(self) -> None:
        self._lines.close()
        self._socket.close()

    def __enter__(self) -> "Monitor":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
