# SPDX-License-Identifier: MIT
"""ebbd's control API: REST and JSON on a unix socket."""

import http.client
import json
import socket
from pathlib import Path
from typing import Any

TIMEOUT_S = 5


class ControlError(Exception):
    """ebbd did not answer, or refused."""


class NotKnown(ControlError):
    """ebbd does not know the VM."""


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect(self._path)


class Control:
    def __init__(self, path: Path) -> None:
        self._path = path

    def status(self) -> dict[str, Any]:
        """The fields of HostStatus."""
        return self._request("GET", "/v1/status")

    def vm(self, name: str) -> dict[str, Any]:
        """The fields of VmStatus."""
        return self._request("GET", f"/v1/vms/{name}")

    def events(self) -> list[dict[str, Any]]:
        """The first 256 that are kept."""
        return self._request("GET", "/v1/events")["events"]

    def set_limit(self, name: str, limit_bytes: int) -> None:
        self._request("PUT", f"/v1/vms/{name}/limit", {"bytes": limit_bytes})

    def set_budget(self, budget_bytes: int) -> None:
        """What all VMs together may cost the host; 0 for none."""
        self._request("PUT", "/v1/budget", {"bytes": budget_bytes})

    def set_guarantee(self, name: str, guarantee_bytes: int) -> None:
        self._request("PUT", f"/v1/vms/{name}/guarantee", {"bytes": guarantee_bytes})

    def set_weight(self, name: str, weight: int) -> None:
        self._request("PUT", f"/v1/vms/{name}/weight", {"weight": weight})

    def swap_out(self, name: str, to_bytes: int) -> None:
        """Asks for so few resident bytes, once; returns at once."""
        self._request("POST", f"/v1/vms/{name}/swap-out", {"to_bytes": to_bytes})

    def swap_in(self, name: str) -> None:
        """Asks for all that the limit allows; returns at once."""
        self._request("POST", f"/v1/vms/{name}/swap-in")

    def _request(self, method: str, url: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        connection = UnixConnection(self._path)
        try:
            connection.request(method, url, json.dumps(body) if body is not None else None,
                               {"Content-Type": "application/json"})
            response = connection.getresponse()
            text = response.read().decode()
        except (OSError, http.client.HTTPException) as error:
            raise ControlError(f"ebbd does not answer {method} {url}: {error}") from error
        finally:
            connection.close()
        if response.status == http.client.NOT_FOUND:
            raise NotKnown(f"{method} {url}: {_reason(text)}")
        if not http.client.OK <= response.status < http.client.MULTIPLE_CHOICES:
            raise ControlError(f"ebbd refused {method} {url}: {_reason(text)}")
        return json.loads(text) if text.strip() else {}


def _reason(text: str) -> str:
    """The message in {"error": {"code": ..., "message": ...}}."""
    try:
        return json.loads(text)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        return text.strip()
