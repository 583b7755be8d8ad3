# SPDX-License-Identifier: MIT
"""ebbd and one guest under it."""

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from control import NotKnown
from ebbd import STOP_S, Ebbd
from folders import Folders
from guest import Console
from preparation import Prepared
from process import Child, User
from qemu import Qemu

POLL_S = 0.1
EBBD_READY_S = 10
ATTACH_S = 30


class StartError(Exception):
    """The guest could not be brought under ebbd, or not to where it should be."""


class Scene:
    ebbd: Ebbd
    qemu: Qemu
    console: Console

    def __init__(self, prepared: Prepared, folders: Folders, user: User) -> None:
        self._prepared = prepared
        self.vm_name = prepared.vm.name
        self._folders = folders
        self._user = user
        self._closing = contextlib.ExitStack()
        self._running: list[Child] = []
        self._complaints: list[str] = []

    def start_ebbd(self, log_name: str = "ebbd") -> None:
        ebbd = Ebbd(self._prepared.ebbd, self._folders.root, self._folders.log(log_name),
                    self._user.group, more_arguments=self._prepared.ebbd_arguments)
        self.ebbd = ebbd
        self._own(ebbd, lambda: ebbd.stop(STOP_S))
        self.wait(self.ebbd.is_ready, EBBD_READY_S, "ebbd did not open its sockets")

    def start_vm(self) -> None:
        self.qemu = Qemu(self._prepared.vm, self._folders.qemu, self._folders.log("qemu"),
                         self._user)
        self._own(self.qemu, lambda: self._end_qemu(self.qemu))
        self.console = Console(self.qemu.console_log)

    def end_ebbd(self, seconds: float = STOP_S) -> str | None:
        """Now, and not in close(). Returns what did not go well."""
        self._running.remove(self.ebbd)
        return self.ebbd.stop(seconds)

    def end_vm(self) -> str | None:
        """The same."""
        self._running.remove(self.qemu)
        return self._end_qemu(self.qemu)

    def start_heir(self, name: str, **changes: Any) -> Qemu:
        """A QEMU that waits for the guest of this one; with other VmOptions where there are any."""
        vm = replace(self._prepared.vm, name=name, **{"incoming": True, **changes})
        return Qemu(vm, self._folders.of_qemu(name), self._folders.log(name), self._user)

    def hand_over_to(self, heir: Qemu, name: str) -> None:
        """The guest runs there: ends the QEMU that it came from."""
        source, self.qemu, self.vm_name = self.qemu, heir, name
        self._running[self._running.index(source)] = heir
        complaint = self._end_qemu(source)
        if complaint:
            self._complaints.append(f"{complaint}.")
        self.console.move_to(heir.console_log)

    def attach(self) -> None:
        """Returns with the VM held to its limit, before the guest has filled anything."""
        self.wait(self._is_attached, ATTACH_S, "ebbd did not take the VM")
        self.ebbd.control.set_limit(self.vm_name, self._prepared.setting.limit_bytes)

    def wait(self, condition: Callable[[], bool], seconds: float, failure: str) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            deaths = self.deaths()
            if deaths:
                raise StartError(" ".join(deaths))
            if time.monotonic() > deadline:
                raise StartError(f"{failure} within {seconds:.0f} s.")
            time.sleep(POLL_S)  # style-ok(sleep): polls with a deadline

    def deaths(self) -> list[str]:
        return [f"{death}." for death in (child.death() for child in self._running) if death]

    def close(self) -> list[str]:
        """Ends what was started: QEMU first, then ebbd. Returns what did not go well."""
        self._complaints = []
        self._running = []
        self._closing.close()
        return self._complaints

    def callback(self, end: Callable[[], None]) -> None:
        """To be called by close(), before what was started earlier is ended."""
        self._closing.callback(end)

    def _own(self, child: Child, stop: Callable[[], str | None]) -> None:
        def end() -> None:
            complaint = stop()
            if complaint:
                self._complaints.append(f"{complaint}.")
        self._running.append(child)
        self._closing.callback(end)

    def _end_qemu(self, qemu: Qemu) -> str | None:
        # A QEMU that waits for a page of a dead ebbd hears nothing.
        if self.ebbd.death():
            qemu.kill()
            return None
        return qemu.quit()

    def _is_attached(self) -> bool:
        try:
            self.ebbd.control.vm(self.vm_name)
        except NotKnown:
            return False
        return True
