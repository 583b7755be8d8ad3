# SPDX-License-Identifier: MIT
"""The guest's kernel and initramfs.

The kernel is the distribution's own cloud kernel: its package is downloaded and unpacked into a
folder, never installed. The initramfs holds the workload as /init and the few modules that virtio
disks and balloons need.
"""

import fcntl
import gzip
import lzma
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

META_PACKAGE = "linux-image-cloud-amd64"
MODULES_WANTED = ("virtio_pci", "virtio_blk", "virtio_balloon")
MIRROR = "http://deb.debian.org/debian"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


class GuestKernelError(Exception):
    """Says what could not be had, and what to do."""


@dataclass(frozen=True)
class GuestKernel:
    image: Path
    modules: Path  # lib/modules/VERSION


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
        _run(["apt-get", *self._options, "-qq", *arguments], folder)

    def real_package(self) -> str | None:
        """The package that the meta package stands for today."""
        listing = subprocess.run(["apt-cache", *self._options, "depends", META_PACKAGE],
                                 capture_output=True, text=True, check=False)
        found = re.search(r"^ *Depends: (linux-image-\S+)$", listing.stdout, re.MULTILINE)
        return found.group(1) if found else None


def fetch_kernel(folder: Path, apt: Apt = Apt()) -> GuestKernel:
    """Downloads and unpacks the kernel, unless the folder has it from an earlier run. Of two
    that want it at once the second waits for the first."""
    unpacked = folder / "kernel"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not unpacked.is_dir():
            package = _download(folder, apt)
            # Unpacked beside and renamed: an interrupted run leaves nothing that looks complete.
            partial = folder / "kernel.partial"
            shutil.rmtree(partial, ignore_errors=True)
            _run(["dpkg-deb", "-x", str(package), str(partial)], folder)
            partial.rename(unpacked)
            package.unlink()
    return _locate(unpacked)


def build_initramfs(kernel: GuestKernel, workload: Path, work: Path,
                    wanted: tuple[str, ...] = MODULES_WANTED) -> Path:
    """Makes work/initramfs.gz; `work` is a folder of its own. What lies in work/initramfs already
    goes along."""
    root = work / "initramfs"
    (root / "modules").mkdir(parents=True)
    shutil.copyfile(workload, root / "init")
    (root / "init").chmod(0o755)
    order = module_order(kernel.modules, wanted)
    for module in order:
        (root / "modules" / f"{module_name(module)}.ko").write_bytes(read_module(module))
    names = [f"/modules/{module_name(module)}.ko\n" for module in order]
    (root / "modules" / "order").write_text("".join(names))

    archive = work / "initramfs.gz"
    paths = ["."] + sorted(str(path.relative_to(root)) for path in root.rglob("*"))
    cpio = subprocess.run(
        ["cpio", "--create", "--format=newc", "--owner=0:0", "--quiet"],
        cwd=root, input="\n".join(paths).encode(), stdout=subprocess.PIPE, check=True)
    archive.write_bytes(gzip.compress(cpio.stdout, compresslevel=1))
    shutil.rmtree(root)
    return archive


def module_name(path: Path) -> str:
    """virtio-rng.ko.xz is the module virtio_rng."""
    return path.name.split(".ko")[0].replace("-", "_")


def read_module(path: Path) -> bytes:
    """The module's ELF image, whether the distribution compresses its modules or not."""
    content = path.read_bytes()
    return lzma.decompress(content) if path.suffix == ".xz" else content


def dependencies_of(module: bytes) -> list[str]:
    """What its own .modinfo says: a package that was never installed has no modules.dep."""
    found = re.search(rb"\0depends=([\w,-]*)\0", module)
    if not found or not found.group(1):
        return []
    return [name.replace("-", "_") for name in found.group(1).decode().split(",")]


def module_order(modules: Path, wanted: tuple[str, ...]) -> list[Path]:
    """Every module to load for the wanted ones, each after what it depends on."""
    available = {module_name(path): path for path in modules.rglob("*.ko*")}
    builtin = {module_name(Path(line)) for line in
               (modules / "modules.builtin").read_text().splitlines()}
    order: list[Path] = []

    def add(name: str) -> None:
        if name in builtin or available.get(name) in order:
            return
        if name not in available:
            raise GuestKernelError(f"the kernel in {modules} has no module {name}")
        for dependency in dependencies_of(read_module(available[name])):
            add(dependency)
        order.append(available[name])

    for name in wanted:
        add(name)
    return order


def _download(folder: Path, apt: Apt) -> Path:
    package = apt.real_package()
    if package is None:
        # A fresh machine may have no package lists yet.
        apt.get("update", folder=folder)
        package = apt.real_package()
    if package is None:
        raise GuestKernelError(
            f"apt knows no {META_PACKAGE}: is a Debian mirror for amd64 in /etc/apt/sources.list?")
    print(f"Downloading the guest's kernel: {package} (unpacked into {folder}, not installed)",
          flush=True)
    try:
        apt.get("download", package, folder=folder)
    except GuestKernelError:
        # The lists may be older than the mirror.
        apt.get("update", folder=folder)
        package = apt.real_package() or package
        apt.get("download", package, folder=folder)
    return next(folder.glob(f"{package}_*.deb"))


def _locate(unpacked: Path) -> GuestKernel:
    images = list(unpacked.glob("boot/vmlinuz-*"))
    # usr/lib/modules where the package was made for a merged /usr.
    modules = [*unpacked.glob("lib/modules/*"), *unpacked.glob("usr/lib/modules/*")]
    if len(images) != 1 or len(modules) != 1:
        raise GuestKernelError(f"{unpacked} does not look like a kernel package: remove it and "
                               "run again")
    return GuestKernel(images[0], modules[0])


def _run(command: list[str], folder: Path) -> None:
    result = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, check=False)
    if result.returncode != 0:
        raise GuestKernelError(f"{' '.join(command)} failed:\n{result.stdout.strip()}")
