# SPDX-License-Identifier: MIT
"""One guest under ebbd, from start to end, shown live and recorded."""

import contextlib
import time

from control import ControlError
from folders import Folders
from preparation import Prepared
from process import User
from qemu import VM_NAME
from record import Record
from sampler import Sampler
from scene import POLL_S, Scene
from summary import Ending
from view import View

STATUS_EVERY_S = 1


class LiveRun:
    def __init__(self, prepared: Prepared, folders: Folders, user: User) -> None:
        self._prepared = prepared
        self._folders = folders
        self._scene = Scene(prepared, folders, user)
        self._complaints: list[str] = []
        self._status_due = 0.0
        self.record = Record()

    def start(self) -> None:
        """Returns with the VM held to its limit, before the guest has filled anything."""
        self._scene.start_ebbd()
        self.record.started = time.monotonic()
        self._scene.start_vm()
        self._sampler = Sampler(self._scene.qemu.pid, self._scene.ebbd.pid,
                                self.record.add_sample)
        self._scene.callback(self._sampler.stop)
        self._scene.attach()

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
        deaths = self._scene.deaths()
        if not deaths:
            self._status_due = now
            self._read_status()
            if not self._sampler.is_alive():
                self._complaints.append("The memory could not be measured to the end.")
        return Ending(
            seconds=now - self.record.started, silence_s=self.record.silence(now),
            qemu_pid=self._scene.qemu.pid, content_lz4_ratio=self._prepared.content_lz4_ratio,
            deaths=[*deaths, *self._complaints], wrong_pages=self._scene.console.wrong_pages,
            guest_failure=self._scene.console.failure)

    def close(self) -> list[str]:
        """Ends what was started. Returns what did not go well."""
        return self._scene.close()

    def _is_over(self) -> bool:
        end_s = self._prepared.setting.end_s
        if end_s is not None and time.monotonic() >= self.record.started + end_s:
            return True
        return bool(self._complaints or self._scene.deaths() or self._scene.console.failure)

    def _read_console(self) -> None:
        for report in self._scene.console.read():
            if self.record.report is None:
                self._folders.remove_adopted()  # QEMU has the disk open for good
            self.record.add_report(report, time.monotonic())

    def _read_status(self) -> None:
        now = time.monotonic()
        if now < self._status_due:
            return
        self._status_due = now + STATUS_EVERY_S
        try:
            control = self._scene.ebbd.control
            self.record.add_status(control.vm(VM_NAME), control.status())
        except ControlError as error:
            # A component that has just ended explains itself better.
            if not self._scene.deaths():
                self._complaints.append(f"{error}.")
