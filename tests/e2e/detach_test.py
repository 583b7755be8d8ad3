#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""detach_test.py BUILD: QEMU's background snapshot does not go together with a userfaultfd of
somebody else. `ebbctl detach` lets go of the VM for it, `ebbctl attach` lets it return."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import options
from folders import Folders
from monitor import Monitor, MonitorError
from preparation import Prepared, prepare
from process import User
from qemu import VM_NAME
from scene import Scene, StartError
from sizes import MIB
from tap import Tap, skip_all

RAM_BYTES = 384 * MIB
LIMIT_BYTES = 96 * MIB
PARAMETERS = ("ebb.seed=1 ebb.fill_mib=200 ebb.hot_mib=16 ebb.disk_mib=16 ebb.fill_mib_s=200 "
              "ebb.sweep_mib_s=20")
OVERSHOOT = 1.1
FULL_S = 90
SETTLED_S = 60
SNAPSHOT_S = 90
RETURN_S = 45  # the library asks every 30 s at the latest


class Test:
    def __init__(self, tap: Tap, scene: Scene, ebbctl: Path) -> None:
        self._tap = tap
        self._scene = scene
        self._ebbctl = ebbctl
        self._report = None

    def run(self, folder: Path) -> None:
        self.wait(self._is_running, FULL_S, "the guest filled its memory")
        self.wait(self._is_settled, SETTLED_S, "most of it was taken away")
        with self._scene.qemu.monitor() as monitor:
            refusal = _set_background_snapshot(monitor, True)
            self._tap.check("not compatible" in refusal,
                            f"QEMU refuses a background snapshot while attached ({refusal})")
            self._tap.check(self.ebbctl("detach", VM_NAME) == 0, "ebbctl detach")
            vm = self.vm()
            self._tap.check((vm["state"], vm["swapped_bytes"], vm["limit_bytes"])
                            == ("detached", 0, LIMIT_BYTES), "all of its memory is back")
            self.snapshot(monitor, folder)
        self._tap.check(self.ebbctl("attach", VM_NAME) == 0, "ebbctl attach")
        self.wait(lambda: self.vm()["state"] == "running", RETURN_S, "the VM returns")
        self._tap.check(self.vm()["limit_bytes"] == LIMIT_BYTES, "with the limit it had")
        self.wait(self._is_settled, SETTLED_S, "and is held to it")
        self._is_running()
        self._tap.note(f"{self._report.verified_bytes // MIB} MiB verified")
        self._tap.check(self._report.wrong_bytes == 0, "no byte was wrong")
        self._tap.check(self._scene.ebbd.control.status()["detached_vms"] == 0,
                        "nothing went wrong, says ebbd")

    def snapshot(self, monitor: Monitor, folder: Path) -> None:
        refusal = _set_background_snapshot(monitor, True)
        self._tap.check(refusal == "", f"QEMU takes the capability when detached ({refusal})")
        received: list[int] = []
        path = folder / "snapshot.sock"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            path.chmod(0o666)
            listener.listen()
            threading.Thread(target=_receive, args=(listener, received), daemon=True).start()
            monitor.execute("migrate", uri=f"unix:{path}")
            self.wait(lambda: monitor.execute("query-migrate")["status"] in ("completed", "failed"),
                      SNAPSHOT_S, "the snapshot ends")
        status = monitor.execute("query-migrate")
        self._tap.check(status["status"] == "completed" and sum(received) > LIMIT_BYTES,
                        f"the snapshot has the guest's memory ({status['status']}, "
                        f"{sum(received) // MIB} MiB)")
        _set_background_snapshot(monitor, False)

    def ebbctl(self, *words: str) -> int:
        ran = subprocess.run([str(self._ebbctl), *words, "--socket",
                              str(self._scene.ebbd.control_socket)],
                             capture_output=True, text=True, timeout=SNAPSHOT_S, check=False)
        self._tap.note(f"ebbctl {' '.join(words)}:\n{ran.stdout}{ran.stderr}")
        return ran.returncode

    def vm(self) -> dict:
        return self._scene.ebbd.control.vm(VM_NAME)

    def wait(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        try:
            self._scene.wait(condition, seconds, what)
        except StartError as error:
            self._tap.note(str(error))
        self._tap.check(condition(), what)

    def _is_running(self) -> bool:
        for report in self._scene.console.read():
            self._report = report
        return self._report is not None and self._report.phase == "running"

    def _is_settled(self) -> bool:
        vm = self.vm()
        return vm["resident_bytes"] <= OVERSHOOT * LIMIT_BYTES and vm["swapped_bytes"] > LIMIT_BYTES


def _set_background_snapshot(monitor: Monitor, state: bool) -> str:
    """QEMU's refusal, if it is one."""
    try:
        monitor.execute("migrate-set-capabilities",
                        capabilities=[{"capability": "background-snapshot", "state": state}])
    except MonitorError as error:
        return str(error)
    return ""


def _receive(listener: socket.socket, received: list[int]) -> None:
    connection, _ = listener.accept()
    with connection:
        while data := connection.recv(MIB):
            received.append(len(data))


def with_parameters(prepared: Prepared) -> Prepared:
    return replace(prepared, vm=replace(prepared.vm, guest_parameters=PARAMETERS))


def main() -> int:
    build = Path(sys.argv[1]).resolve()
    if os.geteuid() != 0:
        skip_all("needs root")
    tap = Tap()
    # For its snapshot QEMU makes a userfaultfd itself; only root may, as most hosts are set up.
    user = User("root", 0, 0, "root")
    folders = Folders(user)
    arguments = options.parse(["--build", str(build), "--ram", str(RAM_BYTES),
                               "--limit", str(LIMIT_BYTES)])
    scene = None
    try:
        scene = Scene(with_parameters(prepare(arguments, folders, user)), folders, user)
        scene.start_ebbd()
        scene.start_vm()
        scene.attach()
        Test(tap, scene, build / "hostd/ctl/ebbctl").run(folders.qemu)
    finally:
        for complaint in scene.close() if scene else []:
            tap.check(False, complaint)
        for log in folders.logs():
            if log.name != "console.log":
                tap.note(f"{log.name}:\n{log.read_text(errors='replace')}")
        folders.remove()
    return tap.finish()


if __name__ == "__main__":
    sys.exit(main())
