# SPDX-License-Identifier: MIT
"""A host that runs libvirt, without touching the one that this machine may run: the test moves into
a mount namespace of its own, in which all that libvirt writes to is empty."""

import contextlib
import ctypes
import os
import re
import shutil
import signal
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from folders import Folders
from process import ENDING_SIGNALS, Child, die_with

PAGE = Path(__file__).resolve().parents[2] / "docs/LIBVIRT.md"
QEMU_NAMESPACE = "http://libvirt.org/schemas/domain/qemu/1.0"
PROGRAMS = ("libvirtd", "virtlogd", "virsh")
# As Debian's package makes it; the test does without that, which would start services.
QEMU_USER = "libvirt-qemu"
QEMU_UID = 64055
KVM_GROUP = "kvm"
KVM_GID = 64056
CLONE_NEWNS = 0x20000
PR_SET_CHILD_SUBREAPER = 36
CGROUPS = Path("/sys/fs/cgroup")
VIRSH_S = 60
STOP_S = 10
# What libvirt writes to, and what could lead it to services of the real host (D-Bus).
EMPTY = ("/run", "/var/lib", "/var/log", "/var/cache", "/etc/libvirt")


class LibvirtError(Exception):
    """virsh failed."""


def missing_programs() -> list[str]:
    return [name for name in PROGRAMS if shutil.which(name, path="/usr/sbin:/usr/bin") is None]


def isolate(folders: Folders, library: Path) -> None:
    """From here on this process and its children see a host where Ebb is installed, and no VM."""
    if _libc().unshare(CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    _mount("--make-rprivate", "/")
    for folder in EMPTY:
        _mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", folder)
    Path("/var/log/libvirt/qemu").mkdir(parents=True)
    _add_lines(folders, Path("/etc/passwd"),
               f"{QEMU_USER}:x:{QEMU_UID}:{_kvm_gid()}::/:/bin/false")
    _add_lines(folders, Path("/etc/group"),
               f"{QEMU_USER}:x:{QEMU_UID}:", f"{KVM_GROUP}:x:{KVM_GID}:")
    modules = next(Path("/usr/lib").glob("*-linux-gnu/qemu"))
    copy = folders.root / "qemu-modules"
    shutil.copytree(modules, copy, symlinks=True)
    shutil.copy(library, copy / library.name)
    _mount("--bind", str(copy), str(modules))


def go_on_under_an_init() -> None:
    """Goes on in a child of this process, which stays to reap the orphans: QEMU is one by libvirt's
    design, libvirt waits until it is gone, and what is process 1 in a container may not care. Call
    it before anything is started."""
    _libc().prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        die_with(parent)()
        return
    for number in ENDING_SIGNALS:
        signal.signal(number, lambda number, _: os.kill(child, number))
    status = 1
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, ended = os.wait()
            if pid == child:
                status = os.waitstatus_to_exitcode(ended)
                _kill_orphans()
    os._exit(status if status >= 0 else 1)


def _kill_orphans() -> None:
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    for pid in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


def show_file(source: Path, target: Path) -> None:
    """As bind mount: where it is matters to O_DIRECT."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.touch()
    _mount("--bind", str(source), str(target))


def xml_of_page() -> tuple[ElementTree.Element, ElementTree.Element]:
    """The domain, with the plugin, and the command line that takes its place for LD_PRELOAD."""
    ElementTree.register_namespace("qemu", QEMU_NAMESPACE)
    blocks = re.findall(r"```xml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    domain, command_line = (ElementTree.fromstring(block) for block in blocks)
    return domain, command_line


class Libvirt:
    """libvirtd and virtlogd."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders
        # Without a D-Bus there is nobody to ask whether root may.
        Path("/etc/libvirt/libvirtd.conf").write_text('auth_unix_rw = "none"\n')
        self._virtlogd = Child("virtlogd", ["/usr/sbin/virtlogd"], folders.log("virtlogd"))
        self.start()

    def start(self) -> None:
        self._libvirtd = Child("libvirtd", ["/usr/sbin/libvirtd"], self._folders.log("libvirtd"))

    def is_ready(self) -> bool:
        return (Path("/run/libvirt/libvirt-sock").exists()
                and Path("/run/libvirt/virtlogd-sock").exists())

    def stop(self) -> str | None:
        """Domains run on."""
        return self._libvirtd.stop(STOP_S)

    def close(self) -> None:
        """Ends what is left of the domains, too."""
        with contextlib.suppress(LibvirtError):
            for domain in self.virsh("list", "--name").split():
                self.virsh("destroy", domain)
        self.stop()
        self._virtlogd.stop(STOP_S)
        # libvirt's partition, unless another libvirt has domains in it.
        for group in (*CGROUPS.glob("machine"), *CGROUPS.glob("*/machine")):
            with contextlib.suppress(OSError):
                group.rmdir()

    def virsh(self, *arguments: str, seconds: float = VIRSH_S) -> str:
        """What it prints."""
        try:
            ran = subprocess.run(["virsh", "-q", "-c", "qemu:///system", *arguments],
                                 capture_output=True, text=True, timeout=seconds, check=False)
        except subprocess.TimeoutExpired:
            raise LibvirtError(f"virsh {arguments[0]}: no answer within {seconds:.0f} s") from None
        if ran.returncode != 0:
            raise LibvirtError(f"virsh {arguments[0]}: {ran.stderr.strip()}")
        return ran.stdout.strip()


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _kvm_gid() -> int:
    found = re.search(rf"^{KVM_GROUP}:[^:]*:(\d+):", Path("/etc/group").read_text(), re.MULTILINE)
    return int(found.group(1)) if found else KVM_GID


def _add_lines(folders: Folders, file: Path, *lines: str) -> None:
    """In the namespace only, and only those it has not."""
    content = file.read_text().rstrip()
    for line in lines:
        if not re.search(rf"^{line.split(':')[0]}:", content, re.MULTILINE):
            content += f"\n{line}"
    copy = folders.root / file.name
    copy.write_text(f"{content}\n")
    copy.chmod(0o644)
    _mount("--bind", str(copy), str(file))


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)
