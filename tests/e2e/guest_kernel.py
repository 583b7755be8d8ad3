# SPDX-License-Identifier: MIT
"""The guest's kernel and initramfs.

The kernel is the distribution's own cloud kernel: its package is downloaded and unpacked into a
folder, never installed. The initramfs holds the workload as /init and the few modules that virtio
disks, balloons, memory and a power button need.
"""

import gzip
import lzma
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from debian_package import Apt, PackageError, fetch

META_PACKAGE = "linux-image-cloud-amd64"
MODULES_WANTED = ("virtio_pci", "virtio_blk", "virtio_balloon", "virtio_mem", "button", "evdev")


class GuestKernelError(PackageError):
    """The package is there and not what it should be."""


@dataclass(frozen=True)
class GuestKernel:
    image: Path
    modules: Path  # lib/modules/VERSION


def fetch_kernel(folder: Path, apt: Apt = Apt()) -> GuestKernel:
    """Unless the folder has it from an earlier run."""
    return _locate(fetch(META_PACKAGE, folder / "kernel", apt, instead="linux-image-"))


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
    archive.write_bytes(_archive(root))
    shutil.rmtree(root)
    return archive


def add_kexec(initramfs: Path, kernel: Path) -> None:
    """The guest boots this kernel when its power button is pressed (tests/guest/kexec.h)."""
    root = initramfs.with_name("kexec-initramfs")
    (root / "kexec").mkdir(parents=True)
    shutil.copyfile(kernel, root / "kexec/kernel")
    shutil.copyfile(initramfs, root / "kexec/initramfs")
    with initramfs.open("ab") as archive:  # the kernel unpacks one after the other
        archive.write(_archive(root))
    shutil.rmtree(root)


def _archive(root: Path) -> bytes:
    paths = ["."] + sorted(str(path.relative_to(root)) for path in root.rglob("*"))
    cpio = subprocess.run(
        ["cpio", "--create", "--format=newc", "--owner=0:0", "--quiet"],
        cwd=root, input="\n".join(paths).encode(), stdout=subprocess.PIPE, check=True)
    return gzip.compress(cpio.stdout, compresslevel=1)


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


def _locate(unpacked: Path) -> GuestKernel:
    images = list(unpacked.glob("boot/vmlinuz-*"))
    # usr/lib/modules where the package was made for a merged /usr.
    modules = [*unpacked.glob("lib/modules/*"), *unpacked.glob("usr/lib/modules/*")]
    if len(images) != 1 or len(modules) != 1:
        raise GuestKernelError(f"{unpacked} does not look like a kernel package: remove it and "
                               "run again")
    return GuestKernel(images[0], modules[0])
