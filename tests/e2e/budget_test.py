#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""budget_test.py BUILD: three guests of 1 GiB share 1.5 GiB of the host, one of them with a
guarantee, one with a higher weight. Each settles at what is planned for it, no guarantee is broken,
and the host spends no more than the budget: counted from outside, too."""

import sys
from dataclasses import dataclass, replace
from typing import Any

import scene_check
from control import ControlError
from guest import Console, GuestReport
from preparation import Prepared
from qemu import VM_NAME, Qemu, VmOptions
from sampler import POOL_MEMFD, RAM_MEMFD, RECORDS_MEMFD, WORDS_MEMFD, memfd_bytes
from scene_check import SceneCheck, Stage
from sizes import GIB, MIB

RAM_BYTES = GIB
BUDGET_BYTES = GIB * 3 // 2
GUARANTEE_BYTES = 320 * MIB
WEIGHTS = {VM_NAME: 100, "heavy": 120, "safe": 100}
PARAMETERS = ("ebb.fill_mib=640 ebb.hot_mib=32 ebb.disks=0 ebb.fill_mib_s=100 ebb.sweep_mib_s=8 "
              "ebb.hot_mib_s=8")
FULL_S = 200
SETTLED_S = 60
WATCH_S = 8
WITHIN = 0.1  # of the plan


@dataclass
class Guest:
    name: str
    qemu: Qemu
    console: Console
    report: GuestReport | None = None

    def read_console(self) -> None:
        for report in self.console.read():
            self.report = report

    @property
    def is_running(self) -> bool:
        return self.report is not None and self.report.phase == "running"


def cost(vm: dict[str, Any]) -> int:
    return (vm["resident_bytes"] + vm["pool_used_bytes"] + vm["page_word_bytes"]
            + vm["record_bytes"])


def is_as_planned(vm: dict[str, Any]) -> bool:
    return abs(cost(vm) - vm["planned_bytes"]) <= WITHIN * vm["planned_bytes"]


def in_mib(vms: dict[str, dict[str, Any]]) -> str:
    return ", ".join(f"{name}: {vm['resident_bytes'] >> 20} resident of {vm['target_bytes'] >> 20},"
                     f" costs {cost(vm) >> 20} of {vm['planned_bytes'] >> 20}"
                     for name, vm in vms.items())


class Budget:
    def __init__(self) -> None:
        self._stage: Stage
        self._check: SceneCheck
        self._guests: list[Guest] = []
        self._may_be_below = True  # it has not used its guarantee yet
        # What was seen to be wrong.
        self._below: list[int] = []
        self._astray: list[str] = []
        self._overspent: list[int] = []

    def set_up(self, stage: Stage) -> Prepared:
        self._stage = stage
        return replace(stage.prepared, vm=self._options(VM_NAME, 1),
                       ebbd_arguments=("--budget", f"{BUDGET_BYTES >> 20}M"))

    def check(self, check: SceneCheck) -> None:
        self._check = check
        scene, control = check.scene, check.scene.ebbd.control
        control.set_limit(VM_NAME, 0)
        self._guests = [Guest(VM_NAME, scene.qemu, scene.console),
                        self._start("heavy", 2), self._start("safe", 3)]
        check.wait(lambda: control.status()["vms"] == len(WEIGHTS), FULL_S, "all are attached")
        for name, weight in WEIGHTS.items():
            control.set_weight(name, weight)
        control.set_guarantee("safe", GUARANTEE_BYTES)
        self._check_contradictions()
        check.wait(self._all_running, FULL_S, "all have filled their memory")
        check.wait(self._is_settled, SETTLED_S, f"all are within {WITHIN:.0%} of their plan")
        check.watch(WATCH_S, self._look)
        check.tap.check(not self._astray, f"and stay there ({self._astray})")
        check.tap.check(not self._overspent,
                        f"the host spends what it may, seen from outside ({self._overspent})")
        vms = self._vms()
        check.tap.note(in_mib(vms))
        check.tap.check(vms["heavy"]["resident_bytes"] > vms[VM_NAME]["resident_bytes"],
                        "the higher weight has more resident")
        check.tap.check(control.status()["budget_missing_bytes"] == 0, "the budget is enough")
        self._check_data()
        control.set_budget(0)
        check.wait(lambda: all(vm["target_bytes"] == 0 for vm in self._vms().values()), 5,
                   "without a budget nobody is held back")

    def _options(self, name: str, seed: int) -> VmOptions:
        return replace(self._stage.prepared.vm, name=name, disks=(),
                       guest_parameters=f"{PARAMETERS} ebb.seed={seed}")

    def _start(self, name: str, seed: int) -> Guest:
        folders = self._stage.folders
        qemu = Qemu(self._options(name, seed), folders.of_qemu(name), folders.log(name),
                    self._stage.user)
        self._check.scene.callback(qemu.kill)
        return Guest(name, qemu, Console(qemu.console_log))

    def _vms(self) -> dict[str, dict[str, Any]]:
        """Looks at the guarantee each time."""
        vms = {name: self._check.scene.ebbd.control.vm(name) for name in WEIGHTS}
        resident = vms["safe"]["resident_bytes"]
        # What a guest has not used yet is nobody's loss.
        if resident >= GUARANTEE_BYTES:
            self._may_be_below = False
        elif not self._may_be_below:
            self._below.append(resident)
        return vms

    def _check_contradictions(self) -> None:
        control = self._check.scene.ebbd.control
        for what, order in (
                ("less than is guaranteed", lambda: control.set_budget(GUARANTEE_BYTES - 1)),
                ("a limit below the guarantee", lambda: control.set_limit("safe", 64 * MIB)),
                ("a swap-out below the guarantee", lambda: control.swap_out("safe", 64 * MIB))):
            try:
                order()
                self._check.tap.check(False, f"{what} is refused")
            except ControlError as error:
                self._check.tap.check("guarantee" in str(error), f"{what} is refused ({error})")

    def _all_running(self) -> bool:
        for guest in self._guests:
            guest.read_console()
        self._vms()
        return all(guest.is_running for guest in self._guests)

    def _is_settled(self) -> bool:
        return all(is_as_planned(vm) for vm in self._vms().values())

    def _look(self) -> None:
        """Once settled all stays as it is to be."""
        vms = self._vms()
        if not all(is_as_planned(vm) for vm in vms.values()):
            self._astray.append(in_mib(vms))
        state = memfd_bytes(self._check.scene.ebbd.pid)
        spent = (sum(memfd_bytes(guest.qemu.pid)[RAM_MEMFD] for guest in self._guests)
                 + state[POOL_MEMFD] + state[WORDS_MEMFD] + state[RECORDS_MEMFD])
        if spent > (1 + WITHIN) * BUDGET_BYTES:
            self._overspent.append(spent >> 20)
        self._check.tap.note(f"{spent >> 20} of {BUDGET_BYTES >> 20} MiB; {in_mib(vms)}")

    def _check_data(self) -> None:
        tap = self._check.tap
        for guest in self._guests:
            guest.read_console()
            report = guest.report
            assert report is not None
            tap.check(report.verified_bytes > 0 and report.wrong_bytes == 0
                      and not guest.console.wrong_pages and guest.console.failure is None,
                      f"{guest.name}: {report.verified_bytes >> 20} MiB verified, "
                      f"{report.wrong_bytes} bytes wrong, {guest.console.failure}")
        tap.check(not self._may_be_below, "the guarantee was used")
        tap.check(not self._below, f"and never broken ({self._below})")


if __name__ == "__main__":
    budget = Budget()
    sys.exit(scene_check.run(RAM_BYTES, RAM_BYTES - MIB, budget.set_up, budget.check))
