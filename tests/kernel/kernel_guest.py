# SPDX-License-Identifier: MIT
"""A guest that runs programs of this build in another kernel, emulated, with a disk of its own."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from accelerator import TCG_ARGUMENTS
from guest_kernel import GuestKernel, build_initramfs
from process import die_with
from sizes import MIB

RAM = "1G"
# Emulated, a copy by bytes and a fifth level of page tables cost time, as do mitigations, which
# protect nobody here: together a fifth.
CPU = "max,erms=off,fsrm=off,la57=off"
KERNEL_ARGUMENTS = "console=ttyS0 quiet panic=-1 mitigations=off"
DISK_BYTES = 256 * MIB
# ext4 asks for crc32c by its name only: no module depends on the one that has it.
MODULES = ("virtio_pci", "virtio_blk", "crc32c_generic", "ext4")
STEP = re.compile(r"^EBB-STEP (\d+) (.*?)\r?$", re.MULTILINE)


@dataclass(frozen=True)
class Outcome:
    statuses: list[int]  # of the steps that have ended
    is_done: bool
    console: str


def libraries_of(program: Path) -> list[Path]:
    """What the dynamic linker loads with it, and the linker itself."""
    says = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=True).stdout
    return [Path(path) for path in re.findall(r"(?:=> |^\s+)(/\S+)", says, re.MULTILINE)]


def add_program(program: Path, root: Path) -> str:
    """Puts it into the initramfs with its libraries. Returns where it lies in the guest."""
    for file, target in [(program, Path("/bin") / program.name),
                         *((library, library) for library in libraries_of(program))]:
        copy = root / target.relative_to("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copy)
    return f"/bin/{program.name}"


def make_disk(folder: Path) -> Path:
    disk = folder / "disk.img"
    with disk.open("wb") as image:
        image.truncate(DISK_BYTES)
    subprocess.run(["/sbin/mke2fs", "-q", "-F", "-t", "ext4", str(disk)], check=True)
    return disk


def run_in_guest(kernel: GuestKernel, init: Path, programs: list[list[str]], folder: Path,
                 seconds: float) -> Outcome:
    """Each of `programs` is a path on this machine and its arguments; an argument that is such a
    path, too, is put into the guest with it."""
    root = folder / "initramfs"
    root.mkdir()
    steps = [" ".join(add_program(Path(word), root) if word.startswith("/") else word
                      for word in words) for words in programs]
    (root / "steps").write_text("".join(f"{step}\n" for step in steps))
    for name in ("disk", "tmp"):
        (root / name).mkdir()
    initramfs = build_initramfs(kernel, init, folder, MODULES)
    console = folder / "console.log"
    command = ["qemu-system-x86_64", *TCG_ARGUMENTS, "-cpu", CPU, "-machine", "q35", "-m", RAM,
               "-smp", "2", "-nodefaults", "-display", "none", "-no-reboot",
               "-serial", f"file:{console}", "-kernel", str(kernel.image),
               "-initrd", str(initramfs), "-append", KERNEL_ARGUMENTS,
               "-drive", f"file={make_disk(folder)},format=raw,if=none,id=d0,cache=none,"
                         "aio=io_uring",
               "-device", "virtio-blk-pci,drive=d0"]
    try:
        subprocess.run(command, stdin=subprocess.DEVNULL, check=True, timeout=seconds,
                       preexec_fn=die_with(os.getpid()))
    except subprocess.TimeoutExpired:
        pass
    said = console.read_text(errors="replace")
    return Outcome([int(status) for status, _ in STEP.findall(said)], "EBB-DONE" in said, said)
