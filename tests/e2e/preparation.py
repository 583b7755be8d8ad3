# SPDX-License-Identifier: MIT
"""All that a run needs before anything is started."""

import argparse
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import accelerator
import disk_image
import guest_kernel
import qemu
from folders import Folders, give_to_owner
from guest import Workload
from options import REPOSITORY
from process import User
from setting import Setting
from sizes import MIB

GUEST_FOLDER = REPOSITORY / "build/guest"
RATIO_PAGES = 20000


class PreparationError(Exception):
    """Says what is missing, and what to do."""


@dataclass(frozen=True)
class Prepared:
    setting: Setting
    ebbd: Path
    vm: qemu.VmOptions
    content_lz4_ratio: float
    ebbd_arguments: tuple[str, ...] = ()


def prepare(arguments: argparse.Namespace, folders: Folders, user: User) -> Prepared:
    build = arguments.build
    library = _built(build / "qemu-plugin/libebb-qemu.so")
    workload_program = _built(build / "tests/guest/workload")
    ratio = _content_ratio(_built(build / "tests/guest/content_ratio"), arguments.seed)
    qemu_program = _program(arguments.qemu)

    workload = Workload.for_ram(arguments.ram, arguments.seed)
    kernel = guest_kernel.fetch_kernel(GUEST_FOLDER)
    give_to_owner(GUEST_FOLDER)
    initramfs = guest_kernel.build_initramfs(kernel, workload_program, folders.root)
    image = folders.stage(kernel.image)
    chosen = accelerator.choose(arguments.accel, qemu_program, user, image, initramfs)
    disk = folders.adopt(disk_image.create(
        [GUEST_FOLDER, folders.root, Path("/var/tmp")], workload.disk_bytes, user))
    vm = qemu.VmOptions(
        qemu=qemu_program, ram_bytes=arguments.ram, accelerator=chosen, loader=arguments.loader,
        library=folders.stage(library), handover_socket=folders.root / "handover.sock",
        kernel=image, initramfs=initramfs, disks=(qemu.Disk(disk),),
        guest_parameters=workload.parameters())
    setting = Setting(
        ram_bytes=arguments.ram, limit_bytes=arguments.limit, fill_bytes=workload.fill_bytes,
        end_s=arguments.seconds, accelerator=chosen.name, accelerator_reason=chosen.reason,
        qemu_version=qemu.version(qemu_program), loader=arguments.loader)
    return Prepared(setting, _built(build / "hostd/ebbd"), vm, ratio, _tiers(arguments, folders))


def _tiers(arguments: argparse.Namespace, folders: Folders) -> tuple[str, ...]:
    """What ebbd is told of its tiers."""
    options = ("--pool-max", str(arguments.pool_max)) if arguments.pool_max else ()
    if arguments.disk:
        file = folders.adopt(disk_image.create(
            [GUEST_FOLDER, folders.root, Path("/var/tmp")], MIB, User("root", 0, 0, "root")))
        os.truncate(file, 0)  # ebbd makes it as large as it is to be
        options += ("--disk", f"{file}:{arguments.disk}")
    return options


def _built(path: Path) -> Path:
    if not path.exists():
        raise PreparationError(f"{path} is not built: start ./run, which builds it")
    return path


def _program(name: str) -> str:
    """An absolute path: not every process of the run stays in our working directory."""
    found = shutil.which(name)
    if found is None:
        raise PreparationError(f"there is no program '{name}': --qemu tells which QEMU to use")
    return str(Path(found).absolute())


def _content_ratio(program: Path, seed: int) -> float:
    says = subprocess.run([str(program), str(seed), str(RATIO_PAGES)], capture_output=True,
                          text=True, check=True).stdout
    return float(says)
