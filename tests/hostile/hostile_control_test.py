#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""hostile_control_test.py BUILD: clients that misbehave on the control sockets, and other users on
all sockets, while a VM is swapped. docs/FAILURE_MODEL.md says what each of them gets."""

import errno
import grp
import os
import random
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ebbd import Ebbd
from host import CommandFailed, Host
from tap import Tap, skip_all
from waiting import Late, wait_until
from watched import Watched

NOBODY = 65534
ANSWER_S = 20
CONNECTIONS = 60
# ebbd cuts a client off after 10 s.
CUT_OFF_S = 20


def exchange(watched: Watched, request: bytes, path: Path | None = None) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(ANSWER_S)
        client.connect(str(path or watched.host.ebbd.control_socket))
        try:
            client.sendall(request)
            client.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it has been cut off: what was said before may be read
        answer = b""
        try:
            while more := client.recv(65536):
                answer += more
        except ConnectionResetError:
            pass
        return answer


def request(method: str, path: str, body: bytes = b"", headers: str = "") -> bytes:
    return (f"{method} {path} HTTP/1.1\r\nHost: ebbd\r\nContent-Length: {len(body)}\r\n"
            f"{headers}\r\n").encode() + body


def requests(watched: Watched) -> None:
    limit = "/v1/vms/bystander/limit"
    cases = {
        "garbage": (random.Random(1).randbytes(5000), (b"", b"400")),
        "half a request": (b"GET /v1/sta", (b"",)),
        "a large body": (request("PUT", limit, bytes(100_000)), (b"413",)),
        "a body that is announced only": (
            f"PUT {limit} HTTP/1.1\r\nHost: e\r\nContent-Length: 99999999999\r\n\r\n".encode(),
            (b"413",)),
        "headers without end": (b"GET /v1/status HTTP/1.1\r\n" + b"X: " + b"y" * 1_000_000,
                                (b"", b"431", b"400")),
        "nesting": (request("PUT", limit, b"[" * 30000), (b"400",)),
        "a number too large": (request("PUT", limit, b'{"bytes":1' + b"0" * 400 + b"}"), (b"400",)),
        "another field": (request("PUT", limit, b'{"bytes":1,"bytes":2}'), (b"400",)),
        "another method": (request("BREW", "/v1/status"), (b"405",)),
        "a path that climbs": (request("GET", "/v1/vms/..%2f..%2fetc"), (b"400", b"404")),
        "two requests at once": (request("GET", "/v1/status") * 2, (b"200",)),
    }
    for name, (sent, expected) in cases.items():
        answer = exchange(watched, sent)
        status = answer.split(b" ")[1] if b" " in answer else b""
        watched.tap.check(status in expected, f"{name}: {status.decode() or 'cut off'}")
    shown = watched.host.show(watched.bystander)
    watched.tap.check(shown["limit_bytes"] == 32 << 20, "the VM's limit is what it was")


def slow(watched: Watched, name: str) -> None:
    """Nearly as many as ebbd serves on one socket, each with a byte now and then."""
    with watched.act("nothing", thread=f"ebb-{name}"):
        clients = []
        for _ in range(CONNECTIONS):
            client = socket.socket(socket.AF_UNIX)
            client.connect(str(watched.host.folder / f"{name}.sock"))
            client.sendall(b"GET /v1/st")
            clients.append(client)
        began = time.monotonic()
        watched.host.show(watched.bystander)
        took = time.monotonic() - began
        watched.tap.check(took < 5, f"ebbctl is served meanwhile, in {took:.2f} s ({name}.sock)")
        for client in clients:
            client.settimeout(CUT_OFF_S)
        closed = 0
        for client in clients:
            try:
                while client.recv(65536):
                    pass
                closed += 1
            except ConnectionResetError:
                closed += 1
            except TimeoutError:
                pass
            client.close()
        watched.tap.check(closed == CONNECTIONS, f"{closed} slow clients were cut off")


def as_nobody(act: Callable[[], int]) -> int:
    """What `act` returns, a small number, in a process of another user."""
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        os._exit(act())
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def connect_as_nobody(path: Path, kind: socket.SocketKind) -> int:
    """The error, 0 for none."""
    return as_nobody(lambda: socket.socket(socket.AF_UNIX, kind).connect_ex(str(path)))


def other_users(watched: Watched) -> None:
    os.chmod(watched.host.folder, 0o755)  # so that the socket's own mode counts
    for name, kind in {"handover.sock": socket.SOCK_SEQPACKET,
                       "control.sock": socket.SOCK_STREAM}.items():
        status = connect_as_nobody(watched.host.folder / name, kind)
        watched.tap.check(status == errno.EACCES,
                          f"another user at {name}: {os.strerror(status)}")
    limit = request("PUT", "/v1/vms/bystander/limit", b'{"bytes":67108864}')
    for name, sent, expected in (("looks", request("GET", "/v1/vms/bystander"), 200),
                                 ("gives an order", limit, 403)):
        def act(sent: bytes = sent) -> int:
            answer = exchange(watched, sent, watched.host.ebbd.status_socket)
            return int(answer.split(b" ")[1]) - 200  # an exit status is a small number
        status = 200 + as_nobody(act)
        watched.tap.check(status == expected, f"another user {name} at status.sock: {status}")
    shown = watched.host.show(watched.bystander)
    watched.tap.check(shown["limit_bytes"] == 32 << 20, "the VM's limit is what it was")


def control_group(tap: Tap, build: Path) -> None:
    """The group that may give orders, and nobody else."""
    group = grp.getgrgid(NOBODY).gr_name
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        ebbd = Ebbd(build / "hostd/ebbd", folder, folder / "ebbd.log", "", control_group=group)
        try:
            wait_until(lambda: ebbd.is_ready() or ebbd.death() is not None, ANSWER_S, "it is ready")
            status = ebbd.control_socket.stat()
            tap.check((status.st_mode & 0o777, status.st_gid) == (0o660, NOBODY),
                      f"--control-group {group} opens control.sock to the group")
            error = connect_as_nobody(ebbd.control_socket, socket.SOCK_STREAM)
            tap.check(error == 0, f"who connects ({os.strerror(error)})")
        finally:
            ebbd.stop(ANSWER_S)
        wrong = Ebbd(build / "hostd/ebbd", folder, folder / "wrong.log", "",
                     control_group="no-such")
        tap.check(wrong.wait(ANSWER_S) and "no group no-such" in wrong.log.read_text(),
                  f"a group that does not exist is refused ({wrong.death()})")


def main() -> int:
    if os.geteuid() != 0:
        skip_all("needs root")
    tap = Tap()
    with Host(Path(sys.argv[1]).resolve()) as host:
        try:
            watched = Watched(tap, host)
            with watched.act("nothing", thread="ebb-control"):
                requests(watched)
            other_users(watched)
            slow(watched, "control")
            slow(watched, "status")
            watched.finish()
            control_group(tap, host.build)
        except (Late, CommandFailed, OSError) as error:
            tap.check(False, f"{type(error).__name__}: {error}".replace("\n", " ")[:2000])
        status = tap.finish()
        if status != 0:
            tap.note(host.logs())
    return status


if __name__ == "__main__":
    sys.exit(main())
