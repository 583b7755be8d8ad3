# SPDX-License-Identifier: MIT
"""Pages as the page cache of a server has them: of files that are on this machine."""

import contextlib
import functools
import os
import random
import sysconfig
import zlib
from collections.abc import Callable, Iterable, Iterator

PAGE_BYTES = 4096
# Of one file, so that one large one is not all there is.
FILE_BYTES_MAX = 256 << 10
SMALLEST_LIBRARY_BYTES = 64 << 10

LIBRARY_FOLDERS = (f"/usr/lib/{sysconfig.get_config_var('MULTIARCH')}", "/usr/lib64", "/usr/lib")
DOC_FOLDERS = ("/usr/share/doc", "/usr/share/common-licenses")
SOURCE_FOLDERS = ("/usr/lib/python3", sysconfig.get_path("stdlib"))
PACKED_SUFFIXES = (".gz", ".xz", ".png", ".jpg", ".pdf")


class NoFilesError(Exception):
    """This machine lacks files of a kind."""


def _files(folders: tuple[str, ...], wanted: Callable[[str], bool]) -> list[str]:
    """Each once and always in the same order: no links are followed."""
    found = set()
    left = list(folders)
    while left:
        with contextlib.suppress(OSError), os.scandir(left.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    left.append(entry.path)
                elif entry.is_file(follow_symlinks=False) and wanted(entry.name):
                    found.add(entry.path)
    return sorted(found)


def pages_of(content: bytes) -> Iterator[bytes]:
    """The last one filled up with zeros, as in the page cache."""
    for start in range(0, len(content), PAGE_BYTES):
        yield content[start:start + PAGE_BYTES].ljust(PAGE_BYTES, b"\0")


@functools.cache
def _libraries() -> tuple[str, ...]:
    return tuple(name for name in _files(LIBRARY_FOLDERS, lambda name: ".so" in name)
                 if os.path.getsize(name) >= SMALLEST_LIBRARY_BYTES)


def _take(files: Iterable[str], pages: int, chance: random.Random, what: str) -> list[bytes]:
    """Pages of files in random order; of a large one a part from somewhere in it."""
    files = list(files)
    chance.shuffle(files)
    taken: list[bytes] = []
    for name in files:
        if len(taken) >= pages:
            break
        try:
            with open(name, "rb") as file:
                parts = max(os.fstat(file.fileno()).st_size // FILE_BYTES_MAX, 1)
                file.seek(chance.randrange(parts) * FILE_BYTES_MAX)
                taken += pages_of(file.read(FILE_BYTES_MAX))
        except OSError:
            continue  # not ours to read, or gone
    if not taken:
        raise NoFilesError(f"there is no {what} on this machine to make data of")
    while len(taken) < pages:
        taken += taken[:pages - len(taken)]
    return taken[:pages]


def library_pages(pages: int, chance: random.Random) -> list[bytes]:
    return _take(_libraries(), pages, chance, "shared library")


def text_pages(pages: int, chance: random.Random) -> list[bytes]:
    """Documentation and Python sources; where one is missing, as in containers, the other."""
    sources = _take(_files(SOURCE_FOLDERS, lambda name: name.endswith(".py")), pages // 2, chance,
                    "Python source")
    docs = _files(DOC_FOLDERS, lambda name: not name.endswith(PACKED_SUFFIXES))
    try:
        return sources + _take(docs, pages - len(sources), chance, "documentation")
    except NoFilesError:
        return (sources * 2)[:pages]


def compressed_pages(pages: int, chance: random.Random) -> list[bytes]:
    """What was compressed already, as pictures, archives and encrypted content are."""
    content = b"".join(library_pages(4 * pages, chance))  # which compresses to a half or a third
    packed = b"".join(zlib.compress(content[start:start + FILE_BYTES_MAX])
                      for start in range(0, len(content), FILE_BYTES_MAX))
    return list(pages_of(packed))[:pages]
