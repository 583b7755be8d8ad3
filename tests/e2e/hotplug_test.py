#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""hotplug_test.py BUILD: memory is plugged into an overcommitted guest and taken out of it again,
by virtio-mem and as DIMMs. What is plugged is held to the VM's limit too, what is unplugged is let
go of, and the guest's content stays right."""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import scene_check
from monitor import Monitor
from preparation import Prepared
from qemu import VM_NAME
from scene_check import OVERSHOOT, SceneCheck, Stage
from sizes import MIB

RAM_BYTES = 448 * MIB
LIMIT_BYTES = 144 * MIB
DIMM_BYTES = 128 * MIB  # x86's Linux takes no less
VIRTIO_MEM_BYTES = 256 * MIB
GROWN_BYTES = 32 * MIB
CHURN_BYTES = 48 * MIB
STOPPED_BYTES = 64 * MIB
BLOCK_BYTES = 2 * MIB
PROBED_BYTES = 8 * MIB
# The guest takes what was plugged for its next pages, and can move them out of it again; what is
# free of it, it gives back without writing zeros to it first.
PARAMETERS = ("memhp_default_state=online_movable init_on_alloc=0 "
              "ebb.seed=1 ebb.fill_mib=150 ebb.hot_mib=8 ebb.disk_mib=8 ebb.fill_mib_s=100 "
              f"ebb.sweep_mib_s=8 ebb.churn_s=5 ebb.churn_mib={CHURN_BYTES // MIB}")
VIRTIO_MEM = "virtio-mem-pci,id=vmem0,memdev=vmem0-ram,requested-size=0"
USED_BYTES = 8 * MIB
USED_S = 30
GUEST_S = 120  # for the guest to do what it is asked to; it takes a tenth where nothing else runs
AGAIN_S = 30   # ebbd looks every 5 s, brings everything back, and is asked again after 1 s
ASK_AGAIN_S = 20
HELD_S = 2
MONITOR_S = 30


def set_up(stage: Stage) -> Prepared:
    memfd = f"memory-backend-memfd,id=vmem0-ram,size={VIRTIO_MEM_BYTES // MIB}M,share=on"
    vm = replace(stage.prepared.vm, guest_parameters=PARAMETERS, objects=(memfd,),
                 devices=(VIRTIO_MEM,), pluggable_bytes=VIRTIO_MEM_BYTES + DIMM_BYTES)
    return replace(stage.prepared, vm=vm)


class Memory:
    """The guest's memory, from QEMU's side."""

    def __init__(self, guest: SceneCheck, monitor: Monitor) -> None:
        self._qemu = guest.scene.qemu
        self.monitor = monitor

    def resident(self, size: int = 0) -> int:
        """What its memfds take of the host, or those of that size; ebbd is not asked."""
        found = {}
        for link in Path(f"/proc/{self._qemu.pid}/fd").iterdir():
            if "memory-backend-memfd" in os.readlink(link):
                status = link.stat()
                if size in (0, status.st_size):
                    found[status.st_ino] = status.st_blocks * 512
        return sum(found.values())

    def address(self, size: int) -> int | None:
        """Where QEMU maps all of one of that size in one piece: no part of it is registered."""
        for line in Path(f"/proc/{self._qemu.pid}/maps").read_text().splitlines():
            if "memory-backend-memfd" in line:
                start, end = (int(part, 16) for part in line.split()[0].split("-"))
                if end - start == size:
                    return start
        return None

    def device(self, name: str) -> dict[str, Any] | None:
        devices = [device["data"] for device in self.monitor.execute("query-memory-devices")]
        return next((device for device in devices if device["id"] == name), None)

    def grow(self, size: int) -> None:
        self.monitor.execute("qom-set", path="/machine/peripheral/vmem0",
                             property="requested-size", value=size)

    def shrink(self) -> None:
        """A guest that was stopped goes on."""
        # Asked for what it was asked for already, the guest hears nothing.
        self.grow(min(self.grown(), BLOCK_BYTES))
        self.grow(0)
        self.monitor.execute("cont")

    def grown(self) -> int:
        return self.device("vmem0")["size"]

    def plug_dimm(self) -> None:
        self.monitor.execute("object-add", id="dimm0-ram", size=DIMM_BYTES, share=True,
                             **{"qom-type": "memory-backend-memfd"})
        self.monitor.execute("device_add", driver="pc-dimm", id="dimm0", memdev="dimm0-ram")

    def eject_dimm(self) -> None:
        self.monitor.execute("device_del", id="dimm0")

    def take_dimm(self) -> None:
        self.monitor.execute("object-del", id="dimm0-ram")

    def is_zero(self, address: int, size: int) -> bool:
        """The guest's physical memory there; QEMU reads it, and makes zeros of what is not there.
        """
        path = self._qemu.console_log.with_name("memory")
        self.monitor.execute("pmemsave", val=address, size=size, filename=str(path))
        content = path.read_bytes()
        path.unlink()
        return len(content) == size and not any(content)


def check(guest: SceneCheck) -> None:
    guest.wait_until_full()
    guest.wait_until_settled("most of it was taken away")
    with guest.scene.qemu.monitor(timeout_s=MONITOR_S) as monitor:
        memory = Memory(guest, monitor)
        check_dimm(guest, memory)
        check_virtio_mem(guest, memory)
    guest.check_nothing_wrong()
    guest.tap.check(guest.scene.ebbd.control.status()["detached_vms"] == 0,
                    "nothing went wrong, says ebbd")
    check_events(guest)


def check_dimm(guest: SceneCheck, memory: Memory) -> None:
    ram = guest.vm()["ram_bytes"]
    plug(guest, memory, "a DIMM", attached=2)
    guest.tap.check(guest.vm()["ram_bytes"] == ram + DIMM_BYTES, "it is of the VM's memory now")
    unplug(guest, memory)
    # Before ebbd has looked: it may lie where the first one did.
    plug(guest, memory, "another DIMM at once", attached=3)
    unplug(guest, memory)
    guest.wait(lambda: times_attached(guest) == 4 and is_running(guest), AGAIN_S,
               "without it the VM is attached again")
    guest.tap.check((guest.vm()["ram_bytes"], guest.vm()["limit_bytes"]) == (ram, LIMIT_BYTES),
                    "with the memory and the limit it had at first")
    guest.wait_until_settled("and is held to it")


def plug(guest: SceneCheck, memory: Memory, what: str, attached: int) -> None:
    memory.plug_dimm()
    guest.tap.note(f"{what} at {memory.address(DIMM_BYTES):#x}")
    guest.wait(lambda: times_attached(guest) == attached and is_running(guest), AGAIN_S,
               f"with {what} the VM is attached again")
    guest.tap.check(guest.vm()["limit_bytes"] == LIMIT_BYTES, "with the limit it had")
    guest.wait(lambda: memory.resident(DIMM_BYTES) > USED_BYTES, USED_S, "the guest uses it")
    check_held(guest, memory, what)


def unplug(guest: SceneCheck, memory: Memory) -> None:
    swapped = guest.vm()["swapped_bytes"] // MIB
    ask_until(guest, memory.eject_dimm, lambda: memory.device("dimm0") is None,
              f"the guest lets go of it, with {swapped} MiB swapped out")
    memory.take_dimm()
    guest.wait(lambda: memory.resident(DIMM_BYTES) == 0, GUEST_S, "and QEMU")


def check_virtio_mem(guest: SceneCheck, memory: Memory) -> None:
    """All of it is there from the start: nothing is attached again for it."""
    before = guest.vm()["pages_discarded"]
    grow(guest, memory, "virtio-mem grows")
    check_held(guest, memory, "virtio-mem")
    wait_until_given_back(guest)
    swap_all_out(guest, memory)
    ask_until(guest, memory.shrink, lambda: memory.grown() == 0, "virtio-mem shrinks")
    left = memory.resident(VIRTIO_MEM_BYTES)
    guest.tap.check(left == 0, f"and nothing of it takes memory any more ({left} bytes)")
    discarded = guest.vm()["pages_discarded"] - before
    guest.tap.check(discarded > 0,
                    f"nor is anything of it stored ({discarded} pages were)")
    guest.tap.check(memory.is_zero(memory.device("vmem0")["memaddr"], PROBED_BYTES),
                    "what was in it never comes back")
    grow(guest, memory, "virtio-mem grows again")
    guest.wait_until_settled("and it is held to its limit")


def wait_until_given_back(guest: SceneCheck) -> None:
    """So that a part of what is stored is of no use to the guest any more."""
    most = 0

    def is_given_back() -> bool:
        nonlocal most
        guest.read_console()
        used = guest.report.used_bytes
        most = max(most, used)
        return used < most - CHURN_BYTES // 2

    guest.wait(is_given_back, GUEST_S, "the guest gives memory back to its kernel")


def swap_all_out(guest: SceneCheck, memory: Memory) -> None:
    """What the guest does not touch any more, too: it stands still for it."""
    memory.monitor.execute("stop")
    guest.scene.ebbd.control.swap_out(guest.scene.vm_name, STOPPED_BYTES)
    guest.wait(lambda: memory.resident() <= OVERSHOOT * STOPPED_BYTES, GUEST_S,
               "most of it is swapped out while it is stopped")


def grow(guest: SceneCheck, memory: Memory, what: str) -> None:
    memory.grow(GROWN_BYTES)
    guest.wait(lambda: memory.grown() == GROWN_BYTES, GUEST_S, what)
    guest.wait(lambda: memory.resident(VIRTIO_MEM_BYTES) > USED_BYTES, USED_S, "the guest uses it")


def check_held(guest: SceneCheck, memory: Memory, what: str) -> None:
    def is_held() -> bool:
        return memory.resident() <= OVERSHOOT * LIMIT_BYTES and guest.vm()["swapped_bytes"] > 0

    guest.wait(is_held, scene_check.SETTLED_S, f"with {what} it is held to its limit")
    over: list[int] = []
    guest.watch(HELD_S, lambda: None if is_held() else over.append(memory.resident() // MIB))
    guest.tap.check(not over, f"and stays there ({over})")


def ask_until(guest: SceneCheck, ask: Callable[[], None], done: Callable[[], bool],
              what: str) -> None:
    """A guest whose pages are just in use gives up, or tries again a minute later."""
    asked = time.monotonic()
    ask()

    def is_done() -> bool:
        nonlocal asked
        if not done() and time.monotonic() - asked > ASK_AGAIN_S:
            ask()
            asked = time.monotonic()
        return done()

    guest.wait(is_done, GUEST_S, what)


def times_attached(guest: SceneCheck) -> int:
    return [event["kind"] for event in events(guest)].count("vm_attached")


def is_running(guest: SceneCheck) -> bool:
    return guest.vm()["state"] == "running"


def events(guest: SceneCheck) -> list[dict[str, Any]]:
    return [event for event in guest.scene.ebbd.control.events() if event["vm"] == VM_NAME]


def check_events(guest: SceneCheck) -> None:
    again = ["ram_changed", "detach_begun", "vm_detached", "vm_attached"]
    kinds = [event["kind"] for event in events(guest)]
    guest.tap.check(kinds == ["vm_attached", "limit_changed", *again, *again, *again,
                              "swap_out_asked"],
                    f"ebbd tells what has happened ({kinds})")
    said = [event["message"] for event in events(guest) if event["kind"] == "ram_changed"]
    size = f"{DIMM_BYTES // MIB} MiB of memory were"
    guest.tap.check(len(said) == 3 and f"{size} plugged into it" in said[0]
                    and f"{size} unplugged from it" in said[2], f"and of which size ({said})")


if __name__ == "__main__":
    sys.exit(scene_check.run(RAM_BYTES, LIMIT_BYTES, set_up, check))
