# SPDX-License-Identifier: MIT
"""A stock QEMU, unprivileged and sandboxed, with libebb-qemu.so loaded into it."""

import grp
import json
import pwd
import re
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

from accelerator import Accelerator, kvm_group
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
class VmOptions:
    qemu: str
    ram_bytes: int
    accelerator: Accelerator
    loader: str              # plugin, preload
    library: Path            # libebb-qemu.so
    handover_socket: Path
    kernel: Path
    initramfs: Path
    disk: Path
    guest_parameters: str


class Qemu(Child):
    """`folder` belongs to the user QEMU runs as: its sockets and the serial console's log."""

    def __init__(self, options: VmOptions, folder: Path, log: Path, user: User) -> None:
        self._quit_socket = folder / "quit.sock"
        self.console_log = folder / "console.log"
        ebb_qmp = folder / "qmp.sock"
        arguments, environment = _load_library(options, ebb_qmp)
        command = [*_machine(options), *arguments,
                   "-serial", f"file:{self.console_log}",
                   # A QMP socket has one client: the first is ebbd's own, for the I/O barrier.
                   "-qmp", f"unix:{ebb_qmp},server=on,wait=off",
                   "-qmp", f"unix:{self._quit_socket},server=on,wait=off"]
        super().__init__("QEMU", command, log, user, environment)

    def quit(self) -> str | None:
        """Asks QEMU to end; a QEMU that does not listen gets signals."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as qmp:
                qmp.settimeout(QUIT_S)
                qmp.connect(str(self._quit_socket))
                for command in ("qmp_capabilities", "quit"):
                    qmp.sendall(json.dumps({"execute": command}).encode())
                if self.wait(QUIT_S):
                    return None
        except OSError:
            pass
        return self.stop(QUIT_S)


def _machine(options: VmOptions) -> list[str]:
    size = f"{options.ram_bytes // MIB}M"
    return [
        options.qemu, "-name", VM_NAME, *options.accelerator.arguments,
        "-machine", "q35,memory-backend=ram0", "-m", size,
        "-object", f"memory-backend-memfd,id=ram0,size={size},share=on",
        # Two vCPUs: pages are asked for at the same time, too.
        "-smp", "2", "-nodefaults", "-display", "none", "-no-reboot", "-sandbox", SANDBOX,
        "-kernel", str(options.kernel), "-initrd", str(options.initramfs),
        "-append", f"console=ttyS0 quiet panic=-1 {options.guest_parameters}",
        "-drive", f"file={options.disk},format=raw,if=none,id=d0,cache=none,aio=io_uring",
        "-device", "virtio-blk-pci,drive=d0"]


def _load_library(options: VmOptions, qmp: Path) -> tuple[list[str], dict[str, str]]:
    """QEMU's arguments and environment for one of the two ways to load the library."""
    if options.loader == "plugin":
        return (["-plugin", f"file={options.library},socket={options.handover_socket},"
                            f"name={VM_NAME},qmp={qmp}"], {})
    return ([], {"LD_PRELOAD": str(options.library), "EBB_SOCKET": str(options.handover_socket),
                 "EBB_NAME": VM_NAME, "EBB_QMP": str(qmp)})
