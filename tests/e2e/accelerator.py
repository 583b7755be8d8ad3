# SPDX-License-Identifier: MIT
"""KVM where it boots the guest's kernel, else TCG. Found out by trying, within seconds."""

import os
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

from process import User, as_user

PROBE_S = 8
KVM_DEVICE = Path("/dev/kvm")
TCG_ARGUMENTS = ("-accel", "tcg,thread=multi")
KVM_ARGUMENTS = ("-accel", "kvm", "-cpu", "host")


class AcceleratorError(Exception):
    """KVM was asked for and cannot be had."""


@dataclass(frozen=True)
class Accelerator:
    name: str    # kvm, tcg
    reason: str  # why this one
    arguments: tuple[str, ...]


def choose(asked: str, qemu: str, user: User, kernel: Path, initramfs: Path) -> Accelerator:
    if asked == "tcg":
        return Accelerator("tcg", "as asked", TCG_ARGUMENTS)
    obstacle = device_obstacle(user) or _boot_obstacle(qemu, user, kernel, initramfs)
    if obstacle is None:
        return Accelerator("kvm", "the guest's kernel boots under it", KVM_ARGUMENTS)
    if asked == "kvm":
        raise AcceleratorError(f"KVM cannot be used: {obstacle}")
    return Accelerator("tcg", f"not KVM: {obstacle}", TCG_ARGUMENTS)


def kvm_group() -> int | None:
    """The group that may open /dev/kvm, if there is one beside root's."""
    try:
        status = os.stat(KVM_DEVICE)
    except FileNotFoundError:
        return None
    group_may = status.st_mode & (stat.S_IRGRP | stat.S_IWGRP) == stat.S_IRGRP | stat.S_IWGRP
    return status.st_gid if group_may and status.st_gid != 0 else None


def device_obstacle(user: User) -> str | None:
    """None: they may open it."""
    try:
        mode = os.stat(KVM_DEVICE).st_mode
    except FileNotFoundError:
        return f"this machine has no {KVM_DEVICE}"
    all_may = mode & (stat.S_IROTH | stat.S_IWOTH) == stat.S_IROTH | stat.S_IWOTH
    if user.uid == 0 or all_may or kvm_group() in user.extra_groups:
        return None
    return f"{KVM_DEVICE} is closed to {user.name}, and QEMU does not run as root here"


def _boot_obstacle(qemu: str, user: User, kernel: Path, initramfs: Path) -> str | None:
    """Some hosts offer a KVM that cannot run a 64-bit Linux: then nothing is heard of the guest."""
    command = [qemu, *KVM_ARGUMENTS, "-machine", "q35", "-m", "256M", "-nodefaults",
               "-display", "none", "-no-reboot", "-serial", "stdio",
               "-kernel", str(kernel), "-initrd", str(initramfs),
               "-append", "console=ttyS0 quiet panic=-1 ebb.probe=1"]
    try:
        probe = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True,
                               timeout=PROBE_S, check=False, **as_user(user))
    except subprocess.TimeoutExpired:
        return f"the guest's kernel did not boot under it within {PROBE_S} s"
    if b"EBB-PROBE" in probe.stdout:
        return None
    said = probe.stderr.decode(errors="replace").strip().splitlines()
    return f"QEMU says '{said[-1]}'" if said else "the guest's kernel does not boot under it"
