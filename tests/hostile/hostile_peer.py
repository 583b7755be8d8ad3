#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""hostile_peer.py ACT SOCKET [QMP]: one process that misbehaves towards ebbd in one way, says on
stdout what it was told, a line each, and ends when its stdin does."""

import fcntl
import os
import random
import socket
import struct
import sys
import time

from foreign_memory import take_ram
from handover_peer import HEADER, HELLO, MAGIC, MIB, PAGE, VERSION, Connection, Hello, Ram
from qmp_peer import QmpPeer

SMALL = 4 * MIB
FLOOD_S = 3.0
F_ADD_SEALS, F_SEAL_FUTURE_WRITE = 1033, 0x10


def say(text: str) -> None:
    print(text, flush=True)


def once(path: str, name: str, hello: Hello, fds: list[int], connection: Connection) -> None:
    connection.send(hello.pack(), fds)
    say(f"{name}: {connection.answer()}")
    connection.close()


# ---- Packets ------------------------------------------------------------------------------------

def garbage(path: str) -> None:
    chance = random.Random(1)
    for _ in range(200):
        connection = Connection(path)
        connection.send(chance.randbytes(chance.randrange(1, 2000)), [])
        connection.answer()
        connection.close()
    say("done")


def short(path: str) -> None:
    whole = Hello("short", [(0, PAGE, 0, 0)]).pack()
    for size in (1, HEADER.size, len(whole) - 1):
        connection = Connection(path)
        connection.send(whole[:size], [])
        say(connection.answer())
        connection.close()


def oversized(path: str) -> None:
    connection = Connection(path)
    connection.send(Hello("oversized").pack() + bytes(100_000), [])
    say(connection.answer())
    connection.close()
    connection = Connection(path)
    connection.send(Hello("oversized").pack(), [0] * 250)
    say(connection.answer())
    connection.close()


def silent(path: str) -> None:
    """As many as ebbd lets wait, and some."""
    connections = [Connection(path, take_offer=False) for _ in range(60)]
    say("connected")
    sys.stdin.read()
    del connections


def late(path: str) -> None:
    connection = Connection(path)
    say(connection.answer())


def reasons(path: str) -> None:
    """A different reason each time, to fill ebbd's log."""
    for version in range(2, 1002):
        connection = Connection(path)
        connection.send(Hello("reasons", version=version).pack(), [0, 0])
        connection.answer()
        connection.close()
    say("done")


def connects(path: str) -> None:
    end = time.monotonic() + FLOOD_S
    count = 0
    while time.monotonic() < end:
        try:
            Connection(path, take_offer=False).close()
            count += 1
        except OSError:
            pass
    say(f"{count} connections")


# ---- Descriptors --------------------------------------------------------------------------------

def wrong_fds(path: str) -> None:
    ram = Ram(SMALL)
    pipe, _ = os.pipe()
    sealed = os.memfd_create("sealed", os.MFD_ALLOW_SEALING)
    os.ftruncate(sealed, SMALL)
    fcntl.fcntl(sealed, F_ADD_SEALS, F_SEAL_FUTURE_WRITE)
    read_only = os.open(f"/proc/self/fd/{ram.memfd}", os.O_RDONLY)
    tmpfs = os.open("/dev/shm", os.O_TMPFILE | os.O_RDWR)
    os.ftruncate(tmpfs, SMALL)
    for name, fd in {"pipe": pipe, "sealed": sealed, "read-only": read_only, "tmpfs": tmpfs,
                     "device": os.open("/dev/zero", os.O_RDWR)}.items():
        connection = Connection(path)
        once(path, name, Hello.of(name, ram), [connection.userfaultfd, fd], connection)
    connection = Connection(path)
    once(path, "no-uffd", Hello.of("no-uffd", ram), [ram.memfd, ram.memfd], connection)
    connection = Connection(path)
    once(path, "swapped", Hello.of("swapped", ram), [ram.memfd, connection.userfaultfd],
         connection)


def used_uffd(path: str) -> None:
    """A userfaultfd somebody has begun to use, and one that blocks."""
    ram = Ram(SMALL)
    connection = Connection(path)
    fcntl.ioctl(connection.userfaultfd, 0xC018AA3F, bytearray(struct.pack("<QQQ", 0xAA, 0, 0)))
    once(path, "used", Hello.of("used", ram), [connection.userfaultfd, ram.memfd], connection)
    connection = Connection(path)
    os.set_blocking(connection.userfaultfd, True)
    once(path, "blocking", Hello.of("blocking", ram), [connection.userfaultfd, ram.memfd],
         connection)


def foreign_uffd(path: str) -> None:
    """The userfaultfd of another process, which has other memory at these addresses."""
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        ours.close()  # so that it sees the end of its parent
        connection = Connection(path)
        socket.send_fds(theirs, [b"u"], [connection.userfaultfd])
        theirs.recv(1)
        os._exit(0)
    theirs.close()
    _, fds, _, _ = socket.recv_fds(ours, 1, 1)
    ram = Ram(SMALL)
    connection = Connection(path)
    once(path, "foreign", Hello.of("foreign", ram), [fds[0], ram.memfd], connection)
    ours.send(b"x")
    os.waitpid(child, 0)


def lingering_fds(path: str) -> None:
    """Sockets whose close waits: ebbd's is the last reference, and they have data to send."""
    connection = Connection(path)
    fds = []
    keep = []
    for _ in range(4):
        listener = socket.create_server(("127.0.0.1", 0))
        client = socket.create_connection(listener.getsockname())
        keep += [listener, listener.accept()[0]]
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 60))
        client.setblocking(False)
        try:
            while True:
                client.send(bytes(65536))
        except BlockingIOError:
            pass
        fds.append(client.detach())
    connection.send(Hello("lingering", [(0, PAGE, 0, 0)], memfds=3).pack(), fds)
    for fd in fds:
        os.close(fd)
    say("sent")
    sys.stdin.read()


# ---- Memory -------------------------------------------------------------------------------------

def overlap(path: str) -> None:
    ram = Ram(SMALL)
    half = SMALL // 2
    cases = {
        "twice": [(ram.hva, SMALL, 0, 0), (ram.hva, SMALL, 0, 0)],
        "overlap": [(ram.hva, half + PAGE, 0, 0), (ram.hva + half, half, half, 0)],
        "past-the-end": [(ram.hva, SMALL + PAGE, 0, 0)],
        "unaligned": [(ram.hva + 8, PAGE, 0, 0)],
        "overflow": [(ram.hva, 2**64 - PAGE, 0, 0)],
        "elsewhere": [(0x1000, PAGE, 0, 0)],
        "no-such-fd": [(ram.hva, PAGE, 0, 7)],
    }
    for name, blocks in cases.items():
        connection = Connection(path)
        once(path, name, Hello(name, blocks), [connection.userfaultfd, ram.memfd], connection)


def foreign_ram(path: str, victim: str) -> None:
    """Guest RAM of another VM."""
    connection = Connection(path)
    once(path, "thief", Hello("thief", [(0x7F0000000000, PAGE, 0, 0)]),
         [connection.userfaultfd, take_ram(int(victim))], connection)


def huge(path: str) -> None:
    """Address space is free; page words are not."""
    ram = Ram(1 << 44, content=False)
    connection = Connection(path)
    say(connection.attach("huge", ram))


# ---- An attached VM that goes on ----------------------------------------------------------------

def forge(path: str) -> None:
    """Its QMP path ends one line of ebbd's log and begins another."""
    ram = Ram(SMALL)
    connection = Connection(path)
    say(connection.attach("forger", ram, "/none\nerror vm bystander: it burns"))
    sys.stdin.read()


def replay(path: str) -> None:
    ram = Ram(SMALL)
    connection = Connection(path)
    say(connection.attach("replay", ram))
    hello = Hello.of("replay", ram).pack()
    # Again on the same connection, as fast as it goes, and on others.
    connection.socket.settimeout(0.01)
    end = time.monotonic() + FLOOD_S
    sent = 0
    while time.monotonic() < end:
        try:
            connection.send(hello, [connection.userfaultfd, ram.memfd])
            sent += 1
        except OSError:
            pass
    say(f"sent {sent}")
    for name, flags in (("replay", 0), ("replay", 1), ("second", 0)):
        other = Connection(path)
        once(path, name, Hello(name, [(ram.hva, ram.size, 0, 0)], flags=flags),
             [other.userfaultfd, ram.memfd], other)
    sys.stdin.read()


def nothing(path: str) -> None:
    """For what others do."""
    sys.stdin.read()


def qmp(path: str, qmp_path: str, manner: str) -> None:
    server = QmpPeer(qmp_path, manner)
    ram = Ram(64 * MIB)
    connection = Connection(path)
    say(connection.attach(f"qmp-{manner}", ram, qmp_path))
    sys.stdin.read()
    del server


def main() -> None:
    act, *arguments = sys.argv[1:]
    globals()[act.replace("-", "_")](*arguments)


if __name__ == "__main__":
    main()
