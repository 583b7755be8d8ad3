# SPDX-License-Identifier: MIT
"""A package of the distribution: downloaded and unpacked into a folder, never installed."""

import fcntl
import re
import shutil
import subprocess
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
        for part in ("lists/partial", "cache/archives/partial"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        sources = folder / "sources.list"
        sources.write_text(f"deb [signed-by={KEYRING}] {MIRROR} {release} main\n")
        settings = {"Dir::Etc::SourceList": sources, "Dir::Etc::SourceParts": "/dev/null",
                    "Dir::State::Lists": folder / "lists", "Dir::State::status": "/dev/null",
                    "Dir::Cache": folder / "cache", "Acquire::Languages": "none",
                    "APT::Architecture": "amd64"}
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

    def _ask(self, *arguments: str) -> str:
        return subprocess.run(["apt-cache", *self._options, *arguments], capture_output=True,
                              text=True, check=False).stdout


def fetch(package: str, unpacked: Path, apt: Apt = Apt(), instead: str | None = None) -> Path:
    """Downloads `package` and unpacks it into the folder `unpacked`, which is returned, unless that
    is there from an earlier run. Of two that want it at once the second waits for the first. With
    `instead` the package that is meant begins so, and `package` depends on it."""
    folder = unpacked.parent
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not unpacked.is_dir():
            file = _download(package, instead, folder, apt)
            # Unpacked beside and renamed: an interrupted run leaves nothing that looks complete.
            partial = folder / f"{unpacked.name}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            run(["dpkg-deb", "-x", str(file), str(partial)], folder)
            partial.rename(unpacked)
            file.unlink()
    return unpacked


def run(command: list[str], folder: Path) -> None:
    result = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, check=False)
    if result.returncode != 0:
        raise PackageError(f"{' '.join(command)} failed:\n{result.stdout.strip()}")


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
