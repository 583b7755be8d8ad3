#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""balloon_test.py BUILD: a guest gives memory back, by free-page reporting and into a balloon,
while its pages are taken away. What ebbd stored of it is freed, nothing goes wrong, and the monitor
always answers, though QEMU's discards hold it."""

import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import metrics
import scene_check
from monitor import Monitor, MonitorError
from preparation import Prepared
from scene_check import SceneCheck, Stage
from sizes import MIB

RAM_BYTES = 512 * MIB
LIMIT_BYTES = 112 * MIB
SMALL_BYTES = 352 * MIB  # what the balloon leaves the guest
PARAMETERS = ("ebb.seed=1 ebb.fill_mib=160 ebb.hot_mib=16 ebb.disks=0 ebb.churn_mib=64 "
              "ebb.fill_mib_s=200 ebb.sweep_mib_s=20")
DEVICE = "virtio-balloon-pci,id=balloon,free-page-reporting=on"
REPORTED_PAGES = 2000
REPORTED_S = 60
ROUNDS = 3
INFLATED_S = 30
PING_S = 0.02
EBBCTL = Path(sys.argv[1]).resolve() / "hostd/ctl/ebbctl"
MONITOR_MS = 100
LONGEST_MS = 1000


class Ping(threading.Thread):
    """Asks QEMU for its status all the time."""

    def __init__(self, monitor: Monitor) -> None:
        super().__init__(daemon=True)
        self._monitor = monitor
        self._over = threading.Event()
        self.answers_ms: list[float] = []
        self.failure: str | None = None

    def run(self) -> None:
        while not self._over.wait(PING_S):
            started = time.monotonic()
            try:
                self._monitor.execute("query-status")
            except MonitorError as error:
                self.failure = str(error)
                return
            self.answers_ms.append((time.monotonic() - started) * 1000)

    def stop(self) -> None:
        self._over.set()
        self.join()


class Places:
    """Samples where the guest's memory is, as Prometheus would."""

    def __init__(self, guest: SceneCheck) -> None:
        self._guest = guest
        self.samples = 0
        self.wrong: list[str] = []

    def sample(self) -> None:
        said = metrics.parse(metrics.ask(EBBCTL, self._guest.scene.ebbd.control_socket))
        self.wrong += metrics.places_that_do_not_add_up(said)
        self.samples += len(said["ebb_vm_configured_bytes"].samples)


def set_up(stage: Stage) -> Prepared:
    vm = replace(stage.prepared.vm, guest_parameters=PARAMETERS, devices=(DEVICE,))
    return replace(stage.prepared, vm=vm)


def check(guest: SceneCheck) -> None:
    guest.wait_until_full()
    guest.wait_until_settled("most of it was taken away")
    places = Places(guest)
    with guest.scene.qemu.monitor() as monitor, guest.scene.qemu.monitor(2) as pinged:
        ping = Ping(pinged)
        ping.start()
        try:
            guest.wait(lambda: guest.vm()["pages_discarded"] > REPORTED_PAGES, REPORTED_S,
                       "what the guest reports as free is not stored any more")
            for round_number in range(ROUNDS):
                resize(guest, monitor, SMALL_BYTES, f"balloon inflated, round {round_number}",
                       places)
                resize(guest, monitor, RAM_BYTES, f"balloon deflated, round {round_number}",
                       places)
        finally:
            ping.stop()
    answers = sorted(ping.answers_ms)
    guest.tap.check(ping.failure is None and len(answers) > 0, f"QEMU answers ({ping.failure})")
    guest.tap.note(f"{len(answers)} answers of the monitor, in {answers[len(answers) // 2]:.1f} ms "
                   f"by the median, {answers[-1]:.1f} ms at most; "
                   f"{guest.vm()['pages_discarded']} stored pages freed")
    # All of them on a machine with nothing else to do.
    guest.tap.check(answers[len(answers) * 99 // 100] < MONITOR_MS, f"within {MONITOR_MS} ms")
    guest.tap.check(answers[-1] < LONGEST_MS, f"and always within {LONGEST_MS} ms")
    guest.tap.check(places.samples > 2 * ROUNDS and not places.wrong,
                    f"the places of its memory added up in {places.samples} samples "
                    f"{places.wrong[:3]}")
    guest.check_nothing_wrong()


def resize(guest: SceneCheck, monitor: Monitor, size: int, what: str, places: Places) -> None:
    def resized() -> bool:
        places.sample()
        return monitor.execute("query-balloon")["actual"] == size

    monitor.execute("balloon", value=size)
    guest.wait(resized, INFLATED_S, what)
    guest.watch(2, places.sample)


if __name__ == "__main__":
    sys.exit(scene_check.run(RAM_BYTES, LIMIT_BYTES, set_up, check))
