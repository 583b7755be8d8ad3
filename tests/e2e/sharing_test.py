#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""sharing_test.py BUILD: another QEMU of the host is to take over the memory of an overcommitted
guest as it lies (x-ignore-shared). It would read zeros in place of swapped pages, so it cannot open
that memory, until `ebbctl detach` has brought everything back."""

import sys
from dataclasses import replace

import scene_check
from control import NotKnown
from ebbctl import ebbctl
from foreign_memory import ram_file
from monitor import Monitor
from preparation import Prepared
from qemu import VM_NAME, Qemu
from scene_check import SceneCheck, Stage
from sizes import MIB

RAM_BYTES = 320 * MIB
LIMIT_BYTES = 96 * MIB
# The guest is stopped for its migration: QEMU 7.2 loses what it writes meanwhile (migration_test).
PARAMETERS = ("ebb.seed=1 ebb.fill_mib=120 ebb.hot_mib=4 ebb.disk_mib=8 ebb.fill_mib_s=200 "
              "ebb.sweep_mib_s=40")
STARTED_S = 20
MIGRATED_S = 30
ATTACHED_S = 45  # the library asks every 30 s at the latest
VERIFIED_S = 90
GOES_ON_BYTES = 64 * MIB
# With RAM in it the stream would be larger than what the guest has filled.
STREAM_BYTES = 32 * MIB


def set_up(stage: Stage) -> Prepared:
    return replace(stage.prepared, vm=replace(stage.prepared.vm, guest_parameters=PARAMETERS))


def check(guest: SceneCheck) -> None:
    guest.wait_until_full()
    guest.wait_until_settled("most of it was taken away")
    check_refused(guest)
    before = verified(guest)
    guest.wait(lambda: verified(guest) > before + GOES_ON_BYTES, VERIFIED_S, "the guest goes on")
    guest.check_nothing_wrong()
    guest.tap.check(ebbctl(guest, "detach") == 0, "ebbctl detach")
    move(guest)
    guest.wait(lambda: is_attached(guest), ATTACHED_S, "ebbd takes it there")
    check_all_verified(guest, "every byte is right there")
    guest.check_nothing_wrong()


def start_with_our_memory(guest: SceneCheck, name: str) -> Qemu:
    heir = guest.scene.start_heir(name, ram_file=ram_file(guest.scene.qemu.pid))
    guest.scene.callback(lambda: heir.death() or heir is guest.scene.qemu or heir.kill())
    return heir


def check_refused(guest: SceneCheck) -> None:
    thief = start_with_our_memory(guest, "thief")
    guest.wait(lambda: bool(thief.death()), STARTED_S, "a QEMU with its memory fails to start")
    says = thief.log.read_text().strip()
    guest.tap.check("Operation not permitted" in says, f"it may not open it ({says})")
    guest.wait(lambda: bool(refusals(guest)), STARTED_S, "ebbd has an event for it")
    message = " ".join(refusals(guest))
    for part in (f"process {thief.pid} (qemu-system-x86)", f"ebbctl detach {VM_NAME}"):
        guest.tap.check(part in message, f"which says '{part}' ({message})")
    guest.tap.check(message in guest.scene.ebbd.log.read_text(), "as does its log")
    guest.tap.check(guest.vm()["state"] == "running", "the VM stays attached")


def refusals(guest: SceneCheck) -> list[str]:
    return [event["message"] for event in guest.scene.ebbd.control.events()
            if event["kind"] == "open_refused" and event["vm"] == VM_NAME]


def move(guest: SceneCheck) -> None:
    """As it should be done."""
    heir = start_with_our_memory(guest, "heir")
    guest.wait(lambda: heir.console_log.exists(), STARTED_S, "then a QEMU with its memory starts")
    with (guest.scene.qemu.monitor(timeout_s=MIGRATED_S) as source,
          heir.monitor(timeout_s=MIGRATED_S) as destination):
        for monitor in (source, destination):
            monitor.execute("migrate-set-capabilities",
                            capabilities=[{"capability": "x-ignore-shared", "state": True}])
        path = guest.scene.qemu.console_log.with_name("migration.sock")
        destination.execute("migrate-incoming", uri=f"unix:{path}")
        source.execute("stop")
        source.execute("migrate", uri=f"unix:{path}")
        guest.wait(lambda: has_ended(source) and has_ended(destination), MIGRATED_S, "it moves")
        migration = source.execute("query-migrate")
        sent = migration.get("ram", {}).get("transferred", 0)
        guest.tap.check(migration["status"] == "completed" and sent < STREAM_BYTES,
                        f"without its memory ({migration['status']}, {sent // 1024} KiB)")
        guest.read_console()
        destination.execute("cont")
    guest.scene.hand_over_to(heir, "heir")


def has_ended(monitor: Monitor) -> bool:
    return monitor.execute("query-migrate").get("status") in ("completed", "failed")


def is_attached(guest: SceneCheck) -> bool:
    try:
        return guest.vm()["state"] == "running"
    except NotKnown:
        return False


def verified(guest: SceneCheck) -> int:
    guest.read_console()
    return guest.report.verified_bytes


def check_all_verified(guest: SceneCheck, what: str) -> None:
    guest.read_console()
    # The one under way has begun before.
    wanted = guest.report.sweeps + 2
    guest.wait(lambda: sweeps(guest) >= wanted, VERIFIED_S, what)


def sweeps(guest: SceneCheck) -> int:
    guest.read_console()
    return guest.report.sweeps


if __name__ == "__main__":
    sys.exit(scene_check.run(RAM_BYTES, LIMIT_BYTES, set_up, check, accel="tcg"))
