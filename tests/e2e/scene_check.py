# SPDX-License-Identifier: MIT
"""What tests of a guest under ebbd have in common."""

import contextlib
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import options
from folders import Folders
from guest import GuestReport
from preparation import Prepared, prepare
from process import User, obey_ending_signals
from qemu import unprivileged_user
from scene import Scene, StartError
from tap import Tap, skip_all

POLL_S = 0.5
FULL_S = 120
SETTLED_S = 60
OVERSHOOT = 1.1


class SceneCheck:
    """A running guest, looked at."""

    def __init__(self, tap: Tap, scene: Scene, limit_bytes: int) -> None:
        self.tap = tap
        self.scene = scene
        self.report: GuestReport | None = None
        self.longest_silence_s = 0.0
        self._limit_bytes = limit_bytes
        self._heard = time.monotonic()

    def read_console(self) -> None:
        now = time.monotonic()
        for report in self.scene.console.read():
            self.report = report
            self._heard = now
        self.longest_silence_s = max(self.longest_silence_s, now - self._heard)

    def vm(self) -> dict[str, Any]:
        return self.scene.ebbd.control.vm(self.scene.vm_name)

    def watch(self, seconds: float, each: Callable[[], None] = lambda: None) -> None:
        self.longest_silence_s = 0.0
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.read_console()
            each()
            time.sleep(POLL_S)  # style-ok(sleep): looks for as long as it was asked to

    def wait(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        """A check of its own."""
        try:
            self.scene.wait(condition, seconds, what)
        except StartError as error:
            self.tap.note(str(error))
        self.tap.check(condition(), what)

    def wait_until_full(self) -> None:
        self.wait(self._is_running, FULL_S, "the guest filled its memory")

    def wait_until_settled(self, what: str) -> None:
        self.wait(self._is_settled, SETTLED_S, what)

    def check_nothing_wrong(self) -> None:
        self.read_console()
        console = self.scene.console
        verified = self.report.verified_bytes if self.report else 0
        wrong = self.report.wrong_bytes if self.report else 0
        self.tap.note(f"{verified >> 20} MiB verified")
        self.tap.note("\n".join(console.wrong_pages))
        self.tap.check(verified > 0 and wrong == 0 and not console.wrong_pages,
                       "no byte was wrong")
        self.tap.check(console.failure is None, f"nothing failed in the guest ({console.failure})")
        self.tap.check(self.vm()["state"] == "running", "the VM is neither held nor detached")

    def _is_running(self) -> bool:
        self.read_console()
        return self.report is not None and self.report.phase == "running"

    def _is_settled(self) -> bool:
        vm = self.vm()
        return vm["swapped_bytes"] > 0 and vm["resident_bytes"] <= OVERSHOOT * self._limit_bytes


@dataclass
class Stage:
    """What a test may have to say about its guest before it starts. It cleans up after it."""
    prepared: Prepared
    folders: Folders
    user: User
    cleanup: contextlib.ExitStack


def run(ram_bytes: int, limit_bytes: int, set_up: Callable[[Stage], Prepared],
        check: Callable[[SceneCheck], None], user: User | None = None,
        accel: str = "auto") -> int:
    """The exit status of the test. Its command line is the build folder."""
    if os.geteuid() != 0:
        skip_all("needs root")
    obey_ending_signals()
    tap = Tap()
    user = user or unprivileged_user()
    folders = Folders(user)
    arguments = options.parse(["--build", str(Path(sys.argv[1]).resolve()),
                               "--ram", str(ram_bytes), "--limit", str(limit_bytes),
                               "--accel", accel])
    try:
        with contextlib.ExitStack() as cleanup:
            with contextlib.redirect_stdout(sys.stderr):  # it may have news, which are no TAP
                prepared = prepare(arguments, folders, user)
            stage = Stage(prepared, folders, user, cleanup)
            scene = Scene(set_up(stage), folders, user)
            try:
                scene.start_ebbd()
                scene.start_vm()
                scene.attach()
                check(SceneCheck(tap, scene, limit_bytes))
            finally:
                for complaint in scene.close():
                    tap.check(False, complaint)
    finally:
        for log in folders.logs():
            if log.name != "console.log":
                tap.note(f"{log.name}:\n{log.read_text(errors='replace')}")
        folders.remove()
    return tap.finish()
