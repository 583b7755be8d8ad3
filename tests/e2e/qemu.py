# SPDX-License-Identifier: MIT
"""A stock QEMU, unprivileged and sandboxed, with libebb-qemu.so loaded into it."""

import contextlib
import grp
import pwd
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from accelerator import Accelerator, kvm_group
from monitor import TIMEOUT_S, Monitor, MonitorError
from process import Child, User
from sizes import MIB

VM_NAME = "first-light"
SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
QUIT_S = 10


def unprivileged_user() -> User:
    """nobody, in the group that may use KVM if there is one."""
    nobody = pwd.getpwnam("nobody")
    group = kvm_group()
    extra = () if group is None else (group,)
    return User("nobody", nobody.pw_uid, nobody.pw_gid, grp.getgrgid(nobody.pw_gid).gr_name, extra)


def version(qemu: str) -> str:
    says = subprocess.run([qemu, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"version (\d+(?:\.\d+)+)", says)
    return found.group(1) if found else says.splitlines()[0]


@dataclass(frozen=True)
class Disk:
    """A virtio-blk device, as QEMU's -drive describes it."""
    image: Path
    format: str = "raw"
    cache: str = "none"      # what libvirt and OpenStack use: O_DIRECT
    aio: str = "io_uring"

    def arguments(self, index: int) -> list[str]:
        return ["-drive", f"file={self.image},format={self.format},if=none,id=d{index},"
                          f"cache={self.cache},aio={self.aio}",
                "-device", f"virtio-blk-pci,drive=d{index},id=disk{index}"]


@dataclass(frozen=True)
class VmOptions:
    qemu: str
    ram_bytes: int
    accelerator: Accelerator
    loader: str              # plugin, preload
    library: Path            # libebb-qemu.so
    handover_socket: Path
    kernel: Path
    initramfs: Path | None   # None: the kernel wants none
    disks: tuple[Disk, ...]
    guest_parameters: str
    objects: tuple[str, ...] = ()  # as -object takes them
    devices: tuple[str, ...] = ()  # more of them, as -device takes them
    pluggable_bytes: int = 0  # how much memory may be plugged into it
    numa_nodes: int = 1      # each with a memfd of its own
    name: str = VM_NAME
    incoming: bool = False   # it waits for the guest of another QEMU
    ram_file: Path | None = None  # of another QEMU: it maps that instead of a memfd of its own
    machine: str = ""        # more properties of it, after a comma


class Qemu(Child):
    """`folder` belongs to the user QEMU runs as: its sockets and the serial console's log."""

    def __init__(self, options: VmOptions, folder: Path, log: Path, user: User) -> None:
        self._monitor_sockets = [folder / f"monitor{number}.sock" for number in (1, 2)]
        self.console_log = folder / "console.log"
        self.program = options.qemu
        ebb_qmp = folder / "qmp.sock"
        arguments, environment = _load_library(options, ebb_qmp)
        command = [*_machine(options), *arguments,
                   "-serial", f"file:{self.console_log}",
                   # A QMP socket has one client: the first is ebbd's own, for the I/O barrier.
                   *(word for socket in (ebb_qmp, *self._monitor_sockets)
                     for word in ("-qmp", f"unix:{socket},server=on,wait=off"))]
        super().__init__("QEMU", command, log, user, environment)

    def monitor(self, number: int = 1, timeout_s: float = TIMEOUT_S) -> Monitor:
        """Number 1 or 2, each for one user at a time."""
        return Monitor(self._monitor_sockets[number - 1], timeout_s)

    def quit(self) -> str | None:
        """Asks QEMU to end; a QEMU that does not listen gets signals."""
        with contextlib.suppress(MonitorError):
            with self.monitor() as monitor:
                monitor.execute("quit")
            if self.wait(QUIT_S):
                return None
        return self.stop(QUIT_S)


def _machine(options: VmOptions) -> list[str]:
    return [
        options.qemu, "-name", options.name, *options.accelerator.arguments, *_memory(options),
        # Two vCPUs: pages are asked for at the same time, too.
        "-smp", "2", "-nodefaults", "-display", "none", "-no-reboot", "-sandbox", SANDBOX,
        "-kernel", str(options.kernel),
        *(("-initrd", str(options.initramfs)) if options.initramfs else ()),
        "-append", f"console=ttyS0 quiet panic=-1 {options.guest_parameters}",
        *(word for index, disk in enumerate(options.disks) for word in disk.arguments(index)),
        *(word for item in options.objects for word in ("-object", item)),
        *(word for device in options.devices for word in ("-device", device)),
        *(("-incoming", "defer") if options.incoming else ())]


def _memory(options: VmOptions) -> list[str]:
    def memfd(node: int) -> list[str]:
        size = f"{options.ram_bytes // options.numa_nodes // MIB}M"
        return ["-object", f"memory-backend-memfd,id=ram{node},size={size},share=on"]
    size = ["-m", f"{options.ram_bytes // MIB}M{_slots(options)}"]
    if options.ram_file:
        return ["-machine", f"q35,memory-backend=ram0{options.machine}", *size, "-object",
                f"memory-backend-file,id=ram0,size={options.ram_bytes // MIB}M,share=on,"
                f"mem-path={options.ram_file}"]
    if options.numa_nodes == 1:
        return ["-machine", f"q35,memory-backend=ram0{options.machine}", *size, *memfd(0)]
    return ["-machine", "q35", *size,
            *(word for node in range(options.numa_nodes)
              for word in (*memfd(node), "-numa", f"node,nodeid={node},memdev=ram{node}"))]


def _slots(options: VmOptions) -> str:
    if options.pluggable_bytes == 0:
        return ""
    return f",slots=4,maxmem={(options.ram_bytes + options.pluggable_bytes) // MIB}M"


def _load_library(options: VmOptions, qmp: Path) -> tuple[list[str], dict[str, str]]:
    """QEMU's arguments and environment for one of the two ways to load the library."""
    if options.loader == "plugin":
        return (["-plugin", f"file={options.library},socket={options.handover_socket},"
                            f"name={options.name},qmp={qmp}"], {})
    return ([], {"LD_PRELOAD": str(options.library), "EBB_SOCKET": str(options.handover_socket),
                 "EBB_NAME": options.name, "EBB_QMP": str(qmp)})
