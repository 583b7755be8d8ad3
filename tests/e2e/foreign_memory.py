# SPDX-License-Identifier: MIT
"""The guest RAM of a VM, in the hands of another process."""

import ctypes
import os
from pathlib import Path

RAM = "/memfd:memory-backend-memfd"
PIDFD_GETFD = 438  # which Python has no function for
_libc = ctypes.CDLL(None, use_errno=True)


class NoRam(Exception):
    """The process has none."""


def ram_file(pid: int) -> Path:
    """Where it lies, for who may open it: nobody while ebbd manages the VM."""
    for file in Path(f"/proc/{pid}/fd").iterdir():
        if os.readlink(file).startswith(RAM):
            return file
    raise NoRam(f"process {pid} has no guest RAM")


def take_ram(pid: int) -> int:
    """A descriptor of it without an open, as somebody has whom QEMU passed it (vhost-user)."""
    pidfd = os.pidfd_open(pid)
    try:
        fd = _libc.syscall(PIDFD_GETFD, pidfd, int(ram_file(pid).name), 0)
    finally:
        os.close(pidfd)
    if fd < 0:
        raise OSError(ctypes.get_errno(), f"pidfd_getfd of process {pid}")
    return fd
