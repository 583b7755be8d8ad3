# SPDX-License-Identifier: MIT
"""QMP servers that do not keep to the protocol, each in a manner of its own."""

import json
import os
import socket
import threading
import time
from collections.abc import Callable

GREETING = {"QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 7}}, "capabilities": []}}


def line(value: object) -> bytes:
    return json.dumps(value).encode() + b"\r\n"


def endlessly(client: socket.socket, piece: bytes) -> None:
    while True:
        client.sendall(piece)


class QmpPeer:
    """Serves one client at a time, on threads that end with the process."""

    def __init__(self, path: str, manner: str) -> None:
        self._manner: Callable[[socket.socket], None] = getattr(self, manner.replace("-", "_"))
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(path)
        self._listener.listen(1)
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            client, _ = self._listener.accept()
            try:
                self._manner(client)
            except OSError:
                pass
            client.close()

    @staticmethod
    def _answer_each(client: socket.socket, answer: Callable[[str], bytes]) -> None:
        client.sendall(line(GREETING))
        received = b""
        while True:
            more = client.recv(4096)
            if not more:
                return
            received += more
            while b"\n" in received:
                command, _, received = received.partition(b"\n")
                client.sendall(answer(json.loads(command)["execute"]))

    def right(self, client: socket.socket) -> None:
        self._answer_each(client, lambda name: line({"return": [] if "query" in name else {}}))

    def garbage(self, client: socket.socket) -> None:
        """Once it is negotiated: nothing that is JSON."""
        self._answer_each(client, lambda name: line({"return": {}}) if "capab" in name
                          else os.urandom(512).replace(b"\n", b"") + b"\n")

    def no_capabilities(self, client: socket.socket) -> None:
        self._answer_each(client, lambda name: line({"error": {"class": "GenericError",
                                                               "desc": "no"}}))

    def never(self, client: socket.socket) -> None:
        """Takes the connection, and that is it."""
        while client.recv(4096):
            pass

    def no_answer(self, client: socket.socket) -> None:
        self._answer_each(client, lambda name: line({"return": {}}) if "capab" in name else b"")

    def one_line(self, client: socket.socket) -> None:
        """A line without an end."""
        endlessly(client, b"[" * 65536)

    def lines(self, client: socket.socket) -> None:
        """Lines without an end."""
        client.sendall(line(GREETING) + line({"return": {}}))
        endlessly(client, b"{}\n" * 20000)

    def events(self, client: socket.socket) -> None:
        client.sendall(line(GREETING) + line({"return": {}}))
        endlessly(client, line({"event": "RESET", "data": {"guest": True}}) * 1000)

    def answers(self, client: socket.socket) -> None:
        """Answers to commands that nobody gave, with much in them."""
        client.sendall(line(GREETING))
        endlessly(client, line({"return": [{"inserted": {"iops": 1}}] * 20000}))

    def closes(self, client: socket.socket) -> None:
        """At once, always."""

    def slow(self, client: socket.socket) -> None:
        """A byte now and then."""
        for byte in line(GREETING) * 100:
            client.sendall(bytes([byte]))
            time.sleep(0.05)  # style-ok(sleep): slowness is what it does
