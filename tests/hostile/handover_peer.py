# SPDX-License-Identifier: MIT
"""The library's side of the hand-over, for peers that do not keep to it (hostd/wire/handover.h)."""

import ctypes
import fcntl
import mmap
import os
import select
import socket
import struct
from dataclasses import dataclass, field

PAGE = 4096
MIB = 1 << 20

MAGIC = 0x51424245
VERSION = 1
QEMU_VERSION = 7 << 16 | 2 << 8
OFFER, HELLO, ACCEPT, REFUSE, RELEASE = range(1, 6)
MAX_BLOCKS = 16
HEADER = struct.Struct("<IHHII")
FIXED = struct.Struct("<6I64s108s4x")
BLOCK = struct.Struct("<QQQQII")
HELLO_BYTES = HEADER.size + FIXED.size + MAX_BLOCKS * BLOCK.size

USERFAULTFD_IOC_NEW = 0xAA00
ANSWER_S = 10


class Ram:
    """A memfd that this process maps, as QEMU does its guest RAM."""

    def __init__(self, size: int, content: bool = True) -> None:
        self.size = size
        self.memfd = os.memfd_create("memory-backend-memfd", os.MFD_CLOEXEC
                                     | os.MFD_ALLOW_SEALING)
        os.ftruncate(self.memfd, size)
        self.memory = mmap.mmap(self.memfd, size)
        self.hva = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        if content:
            for page in range(size // PAGE):
                self.memory[page * PAGE:page * PAGE + 64] = struct.pack("<Q", page) * 8


@dataclass
class Hello:
    """A hello that is right, for a test to spoil."""
    name: str
    blocks: list[tuple[int, int, int, int]] = field(default_factory=list)  # hva, bytes, offset, fd
    qmp: str = ""
    memfds: int = 1
    flags: int = 0
    version: int = VERSION
    magic: int = MAGIC

    @staticmethod
    def of(name: str, ram: Ram, qmp: str = "") -> "Hello":
        return Hello(name, [(ram.hva, ram.size, 0, 0)], qmp)

    def pack(self) -> bytes:
        blocks = b"".join(BLOCK.pack(hva, size, offset, 0, PAGE, fd)
                          for hva, size, offset, fd in self.blocks)
        return (HEADER.pack(self.magic, self.version, HELLO, HELLO_BYTES, 0)
                + FIXED.pack(os.getpid(), self.flags, len(self.blocks), self.memfds, QEMU_VERSION,
                             0, self.name.encode(), self.qmp.encode())
                + blocks.ljust(MAX_BLOCKS * BLOCK.size, b"\0"))


class Connection:
    """To ebbd's hand-over socket, with its offer taken."""

    def __init__(self, path: str, take_offer: bool = True) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.connect(path)  # waits where many others do
        self.socket.settimeout(ANSWER_S)
        self.userfaultfd = -1
        if take_offer:
            _, fds, _, _ = socket.recv_fds(self.socket, 1024, 4)
            self.userfaultfd = fcntl.ioctl(fds[0], USERFAULTFD_IOC_NEW,
                                           os.O_CLOEXEC | os.O_NONBLOCK)
            os.close(fds[0])

    def send(self, packet: bytes, fds: list[int]) -> None:
        socket.send_fds(self.socket, [packet], fds)

    def answer(self) -> str:
        """"accept", "refuse: REASON", "release", or "closed"."""
        packet, fds, _, _ = socket.recv_fds(self.socket, 1024, 8)
        for fd in fds:
            os.close(fd)
        if not packet:
            return "closed"
        kind = HEADER.unpack_from(packet)[2]
        if kind == REFUSE:
            return "refuse: " + packet[HEADER.size:].split(b"\0")[0].decode()
        return {ACCEPT: "accept", RELEASE: "release"}.get(kind, "nonsense")

    def is_readable(self, seconds: float) -> bool:
        return bool(select.select([self.socket], [], [], seconds)[0])

    def attach(self, name: str, ram: Ram, qmp: str = "") -> str:
        self.send(Hello.of(name, ram, qmp).pack(), [self.userfaultfd, ram.memfd])
        return self.answer()

    def close(self) -> None:
        self.socket.close()
        if self.userfaultfd >= 0:
            os.close(self.userfaultfd)
