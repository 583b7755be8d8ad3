#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""detach_test.py BUILD: QEMU's background snapshot does not go together with a userfaultfd of
somebody else. `ebbctl detach` lets go of the VM for it, `ebbctl attach` lets it return."""

import socket
import sys
import threading
from dataclasses import replace

import scene_check
from ebbctl import ebbctl
from monitor import Monitor, MonitorError
from preparation import Prepared
from process import ROOT
from qemu import VM_NAME
from scene_check import SceneCheck, Stage
from sizes import MIB

RAM_BYTES = 384 * MIB
LIMIT_BYTES = 96 * MIB
PARAMETERS = ("ebb.seed=1 ebb.fill_mib=200 ebb.hot_mib=16 ebb.disk_mib=16 ebb.fill_mib_s=200 "
              "ebb.sweep_mib_s=20")
SNAPSHOT_S = 90
RETURN_S = 45  # the library asks every 30 s at the latest


def set_up(stage: Stage) -> Prepared:
    return replace(stage.prepared, vm=replace(stage.prepared.vm, guest_parameters=PARAMETERS))


def check(guest: SceneCheck) -> None:
    guest.wait_until_full()
    guest.wait_until_settled("most of it was taken away")
    with guest.scene.qemu.monitor() as monitor:
        refusal = set_background_snapshot(monitor, True)
        guest.tap.check("not compatible" in refusal,
                        f"QEMU refuses a background snapshot while attached ({refusal})")
        guest.tap.check(ebbctl(guest, "detach") == 0, "ebbctl detach")
        vm = guest.vm()
        guest.tap.check((vm["state"], vm["swapped_bytes"], vm["limit_bytes"])
                        == ("detached", 0, LIMIT_BYTES), "all of its memory is back")
        take_snapshot(guest, monitor)
    guest.tap.check(ebbctl(guest, "attach") == 0, "ebbctl attach")
    guest.wait(lambda: guest.vm()["state"] == "running", RETURN_S, "the VM returns")
    guest.tap.check(guest.vm()["limit_bytes"] == LIMIT_BYTES, "with the limit it had")
    guest.wait_until_settled("and is held to it")
    guest.check_nothing_wrong()
    guest.tap.check(guest.scene.ebbd.control.status()["detached_vms"] == 0,
                    "nothing went wrong, says ebbd")
    check_events(guest)


def check_events(guest: SceneCheck) -> None:
    # Its library may ask in between, and be refused.
    events = [event for event in guest.scene.ebbd.control.events()
              if event["vm"] == VM_NAME and event["kind"] != "attach_refused"]
    kinds = [event["kind"] for event in events]
    guest.tap.check(kinds == ["vm_attached", "limit_changed", "detach_asked", "detach_begun",
                              "vm_detached", "attach_asked", "vm_attached"],
                    f"ebbd tells what has happened ({kinds})")
    orders = [event["message"] for event in events if event["kind"] in ("detach_asked",
                                                                        "vm_detached")]
    guest.tap.check(all("asked for by uid 0, process " in message for message in orders),
                    f"and who wanted it ({orders})")


def take_snapshot(guest: SceneCheck, monitor: Monitor) -> None:
    refusal = set_background_snapshot(monitor, True)
    guest.tap.check(refusal == "", f"QEMU takes the capability when detached ({refusal})")
    received: list[int] = []
    path = guest.scene.qemu.console_log.with_name("snapshot.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        threading.Thread(target=receive, args=(listener, received), daemon=True).start()
        monitor.execute("migrate", uri=f"unix:{path}")
        guest.wait(lambda: monitor.execute("query-migrate")["status"] in ("completed", "failed"),
                   SNAPSHOT_S, "the snapshot ends")
    status = monitor.execute("query-migrate")["status"]
    guest.tap.check(status == "completed" and sum(received) > LIMIT_BYTES,
                    f"it has the guest's memory ({status}, {sum(received) // MIB} MiB)")
    set_background_snapshot(monitor, False)


def set_background_snapshot(monitor: Monitor, state: bool) -> str:
    """QEMU's refusal, if it is one."""
    try:
        monitor.execute("migrate-set-capabilities",
                        capabilities=[{"capability": "background-snapshot", "state": state}])
    except MonitorError as error:
        return str(error)
    return ""


def receive(listener: socket.socket, received: list[int]) -> None:
    connection, _ = listener.accept()
    with connection:
        while data := connection.recv(MIB):
            received.append(len(data))


if __name__ == "__main__":
    # For its snapshot QEMU makes a userfaultfd itself; only root may, as most hosts are set up.
    sys.exit(scene_check.run(RAM_BYTES, LIMIT_BYTES, set_up, check, ROOT))
