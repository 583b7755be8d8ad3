#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""migration_test.py BUILD: an overcommitted guest moves from QEMU to QEMU, by postcopy and by
precopy, and is overcommitted where it arrives, no sooner than its memory is all there.

It is stopped before: the QEMU of Debian 12 loses what a guest under TCG writes during precopy, with
and without Ebb (two of three guests died of it). With postcopy it runs on at the destination while
its pages are still on their way."""

import sys
import time
from dataclasses import replace

import scene_check
from control import NotKnown
from monitor import Monitor
from preparation import Prepared
from process import ROOT
from qemu import Qemu
from scene_check import SceneCheck, Stage
from sizes import MIB

RAM_BYTES = 384 * MIB
LIMIT_BYTES = 96 * MIB
PARAMETERS = ("ebb.seed=1 ebb.fill_mib=200 ebb.hot_mib=8 ebb.disk_mib=16 ebb.fill_mib_s=200 "
              "ebb.sweep_mib_s=20 ebb.hot_mib_s=4")
# Slow enough that postcopy has something left to do.
BYTES_PER_S = 40 * MIB
MIGRATED_S = 90
ATTACHED_S = 10
POLL_S = 0.1
# What is read to be sent comes in, and has to go out again.
RESIDENT_BYTES = LIMIT_BYTES * 1.25


class Hop:
    """From one QEMU to another."""

    def __init__(self, guest: SceneCheck, name: str, postcopy: bool, limited: bool = True) -> None:
        self._guest = guest
        self._name = name
        self._postcopy = postcopy
        self._limited = limited  # at the source, during the migration
        self._how = f"{'postcopy' if postcopy else 'precopy'} to {name}"
        self._early = False
        self._runs = False
        self._most_resident = 0
        self._seen: set[str] = set()

    def run(self) -> None:
        guest, scene = self._guest, self._guest.scene
        heir = scene.start_heir(self._name)
        try:
            guest.wait(lambda: self._listens(heir), ATTACHED_S, f"{self._name} starts")
            with (scene.qemu.monitor(timeout_s=MIGRATED_S) as source,
                  heir.monitor(timeout_s=MIGRATED_S) as destination):
                self._migrate(source, destination)
            guest.read_console()
            verified = guest.report.verified_bytes
            scene.hand_over_to(heir, self._name)
        except BaseException:
            guest.tap.note(f"{self._name}: {heir.death() or 'lives'}")
            heir.kill()
            raise
        scene.callback(lambda: scene.qemu is heir and heir.quit())
        guest.tap.check(not self._early, f"{self._how}: ebbd leaves it alone until then")
        guest.wait(self._is_attached, ATTACHED_S, f"{self._how}: and then takes it")
        scene.ebbd.control.set_limit(self._name, LIMIT_BYTES)
        guest.wait_until_settled(f"{self._how}: most of it was taken away there")
        guest.wait(lambda: self._verified() > verified + LIMIT_BYTES, MIGRATED_S,
                   f"{self._how}: the guest goes on")
        guest.check_nothing_wrong()

    def _migrate(self, source: Monitor, destination: Monitor) -> None:
        path = self._guest.scene.qemu.console_log.with_name("migration.sock")
        capabilities = [{"capability": "postcopy-ram", "state": self._postcopy}]
        for monitor in (source, destination):
            monitor.execute("migrate-set-capabilities", capabilities=capabilities)
        source.execute("migrate-set-parameters", **{"max-bandwidth": BYTES_PER_S})
        destination.execute("migrate-incoming", uri=f"unix:{path}")
        if not self._limited:
            self._guest.scene.ebbd.control.set_limit(self._guest.scene.vm_name, 0)
        source.execute("stop")
        started = time.monotonic()
        source.execute("migrate", uri=f"unix:{path}")
        if self._postcopy:
            source.execute("migrate-start-postcopy")
        self._guest.wait(lambda: self._has_ended(source, destination), MIGRATED_S,
                         f"{self._how}: it ends")
        self._guest.tap.note(f"{time.monotonic() - started:.1f} s, {sorted(self._seen)}, at most "
                             f"{self._most_resident // MIB} MiB resident at the source")
        status = [monitor.execute("query-migrate").get("status")
                  for monitor in (source, destination)]
        self._guest.tap.check(status == ["completed", "completed"],
                              f"{self._how}: QEMU says it is complete ({status})")
        self._guest.tap.check(("postcopy-active" in self._seen) == self._postcopy,
                              f"{self._how}: it was what it should be")
        if self._limited and not self._postcopy:  # at whose end QEMU makes no barriers
            self._guest.tap.check(self._most_resident <= RESIDENT_BYTES,
                                  f"{self._how}: the source stays at its limit")

    def _has_ended(self, source: Monitor, destination: Monitor) -> bool:
        # Before the state is read: what is attached after it may be so because it has changed.
        attached = self._is_attached()
        states = [monitor.execute("query-migrate").get("status", "none")
                  for monitor in (source, destination)]
        self._early |= attached and states[1] != "completed"
        self._seen.update(states)
        self._most_resident = max(self._most_resident, self._guest.vm()["resident_bytes"])
        if not self._runs and destination.execute("query-status")["status"] == "paused":
            destination.execute("cont")
            self._runs = True
        return all(state in ("completed", "failed") for state in states)

    def _is_attached(self) -> bool:
        try:
            self._guest.scene.ebbd.control.vm(self._name)
        except NotKnown:
            return False
        return True

    def _listens(self, heir: Qemu) -> bool:
        time.sleep(POLL_S)  # style-ok(sleep): polls with a deadline
        return heir.console_log.exists()

    def _verified(self) -> int:
        self._guest.read_console()
        return self._guest.report.verified_bytes


def set_up(stage: Stage) -> Prepared:
    return replace(stage.prepared, vm=replace(stage.prepared.vm, guest_parameters=PARAMETERS))


def check(guest: SceneCheck) -> None:
    guest.wait_until_full()
    guest.wait_until_settled("most of it was taken away")
    Hop(guest, "second", postcopy=True).run()
    Hop(guest, "third", postcopy=False).run()
    Hop(guest, "fourth", postcopy=True, limited=False).run()
    guest.tap.check(guest.scene.ebbd.control.status()["detached_vms"] == 0,
                    "nothing went wrong, says ebbd")


if __name__ == "__main__":
    # For postcopy QEMU makes a userfaultfd itself; only root may, as most hosts are set up.
    sys.exit(scene_check.run(RAM_BYTES, LIMIT_BYTES, set_up, check, ROOT, accel="tcg"))
