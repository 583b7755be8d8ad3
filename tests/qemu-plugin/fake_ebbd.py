# SPDX-License-Identifier: MIT
"""ebbd's side of hostd/wire/handover.h, as far as the tests of the library in programs need it."""

import os
import socket
import struct

DEADLINE = 20.0

MAGIC = 0x51424245
VERSION = 1
OFFER, HELLO, ACCEPT = 1, 2, 3
HEADER = struct.Struct("<IHHII")
HELLO_FIXED = struct.Struct("<IIIIII64s108s4s")
RAM_BLOCK = struct.Struct("<QQQQII")
MAX_RAM_BLOCKS = 16
HELLO_BYTES = HEADER.size + HELLO_FIXED.size + MAX_RAM_BLOCKS * RAM_BLOCK.size


def header(kind):
    return HEADER.pack(MAGIC, VERSION, kind, HEADER.size, 0)


class Hello:
    """A Hello as it came; .bytes is the packet's size."""

    def __init__(self, data, fds):
        self.bytes, self.fds = len(data), fds
        self.magic, self.version, self.type, self.size, _ = HEADER.unpack_from(data)
        (self.pid, self.flags, self.block_count, self.memfd_count, version, _, name, qmp, _) = (
            HELLO_FIXED.unpack_from(data, HEADER.size))
        self.qemu_version = (version >> 16, version >> 8 & 255, version & 255)
        self.name, self.qmp = (text.split(b"\0")[0].decode() for text in (name, qmp))
        first = HEADER.size + HELLO_FIXED.size
        self.blocks = [RAM_BLOCK.unpack_from(data, first + i * RAM_BLOCK.size)
                       for i in range(self.block_count)]

    def file(self, index):
        return os.readlink(f"/proc/self/fd/{self.fds[index]}")

    def close(self):
        for fd in self.fds:
            os.close(fd)


class FakeEbbd:
    """A listening socket that any user may connect to. No wait is longer than DEADLINE."""

    def __init__(self, path):
        self.path = path
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(path)
        os.chmod(path, 0o666)
        self.listener.listen(8)

    def accept(self):
        self.listener.settimeout(DEADLINE)
        connection, _ = self.listener.accept()
        connection.settimeout(DEADLINE)
        return connection

    def has_connection(self):
        """Whether somebody has connected by now."""
        self.listener.settimeout(0)
        try:
            self.listener.accept()[0].close()
            return True
        except BlockingIOError:
            return False

    @staticmethod
    def send_offer(connection):
        device = os.open("/dev/userfaultfd", os.O_RDWR | os.O_CLOEXEC)
        socket.send_fds(connection, [header(OFFER)], [device])
        os.close(device)

    @staticmethod
    def greet(connection):
        """Offer, then the Hello it is answered with."""
        FakeEbbd.send_offer(connection)
        data, fds, _, _ = socket.recv_fds(connection, 2 * HELLO_BYTES, 2 + MAX_RAM_BLOCKS)
        return Hello(data, fds)

    @staticmethod
    def send_accept(connection):
        state = [os.memfd_create(name) for name in ("words", "records", "pool")]
        socket.send_fds(connection, [header(ACCEPT)], state)
        for fd in state:
            os.close(fd)

    @staticmethod
    def ends(connection):
        """Waits for the library's end of the connection to go."""
        try:
            return connection.recv(1) == b""
        except ConnectionResetError:  # it went with a message unread
            return True
