# SPDX-License-Identifier: MIT
"""A package of the distribution: downloaded and unpacked into a folder, never installed."""

import fcntl
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

MIRROR = "http://deb.debian.org/debian"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


class PackageError(Exception):
    """Says what could not be had, and what to do."""


class Apt:
    """Where packages come from: what this machine is set up for."""

    def __init__(self, options: tuple[str, ...] = ()) -> None:
        self._options = ("-o", "APT::Sandbox::User=root", *options)

    @staticmethod
    def of_release(release: str, folder: Path) -> "Apt":
        """Debian's `release`, whatever this machine runs: with lists of its own, in `folder`."""
        return Apt._of_suites([release], folder)

    @staticmethod
    def of_backports(release: str, folder: Path) -> "Apt":
        """The same with its backports, which come first."""
        return Apt._of_suites([f"{release}-backports", release], folder)

    @staticmethod
    def _of_suites(suites: list[str], folder: Path) -> "Apt":
        for part in ("lists/partial", "cache/archives/partial"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        sources = folder / "sources.list"
        sources.write_text("".join(f"deb [signed-by={KEYRING}] {MIRROR} {suite} main\n"
                                   for suite in suites))
        settings = {"Dir::Etc::SourceList": sources, "Dir::Etc::SourceParts": "/dev/null",
                    "Dir::State::Lists": folder / "lists", "Dir::State::status": "/dev/null",
                    "Dir::Cache": folder / "cache", "Acquire::Languages": "none",
                    "APT::Architecture": "amd64", "APT::Default-Release": suites[0]}
        return Apt(tuple(word for name, value in settings.items()
                         for word in ("-o", f"{name}={value}")))

    def get(self, *arguments: str, folder: Path) -> None:
        run(["apt-get", *self._options, "-qq", *arguments], folder)

    def knows(self, package: str) -> bool:
        """Whether there is a version of it to download."""
        says = self._ask("policy", package)
        return re.search(r"^ *Candidate: [^(]", says, re.MULTILINE) is not None

    def depends(self, package: str) -> list[str]:
        """The packages it depends on."""
        return re.findall(r"^ *Depends: (\S+)$", self._ask("depends", package), re.MULTILINE)

    def with_dependencies(self, package: str) -> list[str]:
        """It and what would be installed with it where nothing is yet."""
        says = self._ask("install", "-qq", "--simulate", "--no-install-recommends", package,
                         program="apt-get")
        return re.findall(r"^Inst (\S+)", says, re.MULTILINE)

    def _ask(self, *arguments: str, program: str = "apt-cache") -> str:
        return subprocess.run([program, *self._options, *arguments], capture_output=True,
                              text=True, check=False).stdout


def fetch(package: str, unpacked: Path, apt: Apt = Apt(), instead: str | None = None) -> Path:
    """Downloads `package` and unpacks it into the folder `unpacked`, which is returned, unless that
    is there from an earlier run. Of two that want it at once the second waits for the first. With
    `instead` the package that is meant begins so, and `package` depends on it."""
    return _unpack_once(unpacked, lambda folder: [_download(package, instead, folder, apt)])


def fetch_with_libraries(package: str, unpacked: Path, apt: Apt) -> Path:
    """The same with all that it depends on, down to the C library, in one folder. `apt` is one with
    lists of its own."""
    return _unpack_once(unpacked, lambda folder: _download_all(package, folder, apt))


def _unpack_once(unpacked: Path, download: Callable[[Path], list[Path]]) -> Path:
    folder = unpacked.parent
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not unpacked.is_dir():
            files = download(folder)
            # Unpacked beside and renamed: an interrupted run leaves nothing that looks complete.
            partial = folder / f"{unpacked.name}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            for file in files:
                run(["dpkg-deb", "-x", str(file), str(partial)], folder)
            partial.rename(unpacked)
            for file in files:
                file.unlink()
    return unpacked


def run(command: list[str], folder: Path) -> None:
    result = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, check=False)
    if result.returncode != 0:
        raise PackageError(f"{' '.join(command)} failed:\n{result.stdout.strip()}")


def _download_all(package: str, folder: Path, apt: Apt) -> list[Path]:
    apt.get("update", folder=folder)
    names = apt.with_dependencies(package)
    if not names:
        raise PackageError(f"apt knows no {package} that could be installed")
    print(f"Downloading {package} and what it needs (unpacked into {folder}, not installed)",
          flush=True)
    archives = folder / "archives"
    shutil.rmtree(archives, ignore_errors=True)
    archives.mkdir()
    apt.get("download", *names, folder=archives)
    return sorted(archives.glob("*.deb"))


def _download(package: str, instead: str | None, folder: Path, apt: Apt) -> Path:
    name = _resolve(package, instead, apt)
    if name is None:
        # A fresh machine may have no package lists yet.
        apt.get("update", folder=folder)
        name = _resolve(package, instead, apt)
    if name is None:
        raise PackageError(
            f"apt knows no {package}: is a mirror of Debian in /etc/apt/sources.list?")
    print(f"Downloading {name} (unpacked into {folder}, not installed)", flush=True)
    try:
        apt.get("download", name, folder=folder)
    except PackageError:
        # The lists may be older than the mirror.
        apt.get("update", folder=folder)
        name = _resolve(package, instead, apt) or name
        apt.get("download", name, folder=folder)
    return next(folder.glob(f"{name}_*.deb"))


def _resolve(package: str, instead: str | None, apt: Apt) -> str | None:
    """The package to download; None where apt does not know it."""
    if instead is None:
        return package if apt.knows(package) else None
    return next((name for name in apt.depends(package) if name.startswith(instead)), None)
