# SPDX-License-Identifier: MIT
"""One guest under ebbd, from start to end."""

import contextlib
import time
from collections.abc import Callable

from control import ControlError, NotKnown
from ebbd import STOP_S, Ebbd
from folders import Folders
from guest import Console
from preparation import Prepared
from process import Child, User
from qemu import VM_NAME, Qemu
from record import Record
from sampler import Sampler
from summary import Ending
from view import View

POLL_S = 0.1
STATUS_EVERY_S = 1
EBBD_READY_S = 10
ATTACH_S = 30


class StartError(Exception):
    """The guest could not be brought under ebbd."""


class LiveRun:
    def __init__(self, prepared: Prepared, folders: Folders, user: User) -> None:
        self._prepared = prepared
        self._folders = folders
        self._user = user
        self._closing = contextlib.ExitStack()
        self._running: list[Child] = []
        self._complaints: list[str] = []
        self._status_due = 0.0
        self.record = Record()

    def start(self) -> None:
        """Returns with the VM held to its limit, before the guest has filled anything."""
        self._ebbd = Ebbd(self._prepared.ebbd, self._folders.root, self._folders.log("ebbd"),
                          self._user.group)
        self._own(self._ebbd, lambda: self._ebbd.stop(STOP_S))
        self._wait(self._ebbd.is_ready, EBBD_READY_S, "ebbd did not open its sockets")

        self.record.started = time.monotonic()
        self._qemu = Qemu(self._prepared.vm, self._folders.qemu, self._folders.log("qemu"),
                          self._user)
        self._own(self._qemu, self._end_qemu)
        self._console = Console(self._qemu.console_log)
        self._sampler = Sampler(self._qemu.pid, self._ebbd.pid, self.record.add_sample)
        self._closing.callback(self._sampler.stop)

        self._wait(self._is_attached, ATTACH_S, "ebbd did not take the VM")
        self._ebbd.control.set_limit(VM_NAME, self._prepared.setting.limit_bytes)
        self._folders.remove_adopted()  # QEMU has the disk open

    def watch(self) -> None:
        """Until the time is over or a component ends."""
        with contextlib.closing(View(self._prepared.setting)) as view:
            while not self._is_over():
                self._read_console()
                self._read_status()
                view.show(self.record, time.monotonic())
                # style-ok(sleep): the rhythm of the view
                time.sleep(POLL_S)

    def ending(self) -> Ending:
        """How things stand, with the last figures. Before close(): that ends everything."""
        now = time.monotonic()
        self._read_console()
        deaths = self._deaths()
        if not deaths:
            self._status_due = now
            self._read_status()
            if not self._sampler.is_alive():
                self._complaints.append("The memory could not be measured to the end.")
        return Ending(
            seconds=now - self.record.started, silence_s=self.record.silence(now),
            qemu_pid=self._qemu.pid, content_lz4_ratio=self._prepared.content_lz4_ratio,
            deaths=[*deaths, *self._complaints], wrong_pages=self._console.wrong_pages,
            guest_failure=self._console.failure)

    def close(self) -> list[str]:
        """Ends what was started: QEMU first, then ebbd. Returns what did not go well."""
        self._complaints = []
        self._running = []
        self._closing.close()
        return self._complaints

    def _own(self, child: Child, stop: Callable[[], str | None]) -> None:
        def end() -> None:
            complaint = stop()
            if complaint:
                self._complaints.append(f"{complaint}.")
        self._running.append(child)
        self._closing.callback(end)

    def _end_qemu(self) -> str | None:
        # A QEMU that waits for a page of a dead ebbd hears nothing.
        if self._ebbd.death():
            self._qemu.kill()
            return None
        return self._qemu.quit()

    def _wait(self, condition: Callable[[], bool], seconds: float, failure: str) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            deaths = self._deaths()
            if deaths:
                raise StartError(" ".join(deaths))
            if time.monotonic() > deadline:
                raise StartError(f"{failure} within {seconds:.0f} s.")
            time.sleep(POLL_S)  # style-ok(sleep): polls with a deadline

    def _is_attached(self) -> bool:
        try:
            self._ebbd.control.vm(VM_NAME)
        except NotKnown:
            return False
        return True

    def _is_over(self) -> bool:
        end_s = self._prepared.setting.end_s
        if end_s is not None and time.monotonic() >= self.record.started + end_s:
            return True
        return bool(self._complaints or self._deaths() or self._console.failure)

    def _deaths(self) -> list[str]:
        return [f"{death}." for death in (child.death() for child in self._running) if death]

    def _read_console(self) -> None:
        for report in self._console.read():
            self.record.add_report(report, time.monotonic())

    def _read_status(self) -> None:
        now = time.monotonic()
        if now < self._status_due:
            return
        self._status_due = now + STATUS_EVERY_S
        try:
            self.record.add_status(self._ebbd.control.vm(VM_NAME), self._ebbd.control.status())
        except ControlError as error:
            # A component that has just ended explains itself better.
            if not self._deaths():
                self._complaints.append(f"{error}.")
