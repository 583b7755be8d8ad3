# SPDX-License-Identifier: MIT
"""Newer QEMUs: those of Debian's backports, with all the libraries they need down to the C library,
downloaded and unpacked, never installed. They run on those, whatever this machine has."""

import contextlib
import os
import shutil
import struct
import sys
from pathlib import Path

import debian_package
from debian_package import Apt
from folders import give_to_owner
from options import REPOSITORY

PACKAGE = "qemu-system-x86"
FOLDER = REPOSITORY / "build/packages"
PROGRAM = Path("usr/bin/qemu-system-x86_64")
LOADER = "ld-linux-x86-64.so.2"
NOT_NEEDED = ("doc", "locale", "man", "perl5", "perl", "zoneinfo")

ELF_HEADER = struct.Struct("<32x Q 14x H H 6x")      # of the program headers: where, size, number
PROGRAM_HEADER = struct.Struct("<I I Q Q Q Q Q Q")   # type, flags, offset, ..., bytes in the file
PT_INTERP = 3


def fetch_qemu(release: str, target: Path) -> Path:
    """The QEMU of the backports for Debian's `release`: makes the folder `target`, which every user
    can read. What to run in it."""
    folder = FOLDER / f"{release}-backports"
    apt = Apt.of_backports(release, folder / "apt")
    with contextlib.redirect_stdout(sys.stderr):  # it may have news, which are no TAP
        unpacked = debian_package.fetch_with_libraries(PACKAGE, folder / "whole", apt)
    if os.geteuid() == 0:
        give_to_owner(folder)
    shutil.copytree(unpacked, target, symlinks=True, ignore=shutil.ignore_patterns(*NOT_NEEDED))
    libraries = [path for path in (target / "lib/x86_64-linux-gnu",
                                   target / "usr/lib/x86_64-linux-gnu") if path.is_dir()]
    loader = next(path / LOADER for path in libraries if (path / LOADER).exists())
    _use_loader(target / PROGRAM, loader)
    # Not by starting the loader: /proc/PID/exe is to be QEMU, which looks for its files beside it.
    start = target / PROGRAM.name
    start.write_text(f"#!/bin/sh\nexport LD_LIBRARY_PATH={':'.join(map(str, libraries))}\n"
                     f'exec {target / PROGRAM} "$@"\n')
    start.chmod(0o755)
    return start


def _use_loader(program: Path, loader: Path) -> None:
    """The path of the loader is all that changes in the program: it goes behind its end."""
    content = bytearray(program.read_bytes())
    path = os.fsencode(loader) + b"\0"
    table, size, number = ELF_HEADER.unpack_from(content)
    for at in range(table, table + size * number, size):
        kind, flags, _, *addresses, _, memory, alignment = PROGRAM_HEADER.unpack_from(content, at)
        if kind == PT_INTERP:
            PROGRAM_HEADER.pack_into(content, at, kind, flags, len(content), *addresses,
                                     len(path), memory, alignment)
    program.write_bytes(content + path)
