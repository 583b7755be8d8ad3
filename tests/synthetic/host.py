# SPDX-License-Identifier: MIT
"""The host of the synthetic VMs: a temporary folder, and ebbd and ebbctl in it."""

import json
import shutil
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from ebbd import Ebbd
from synthetic_vm import Settings, SyntheticVm
from waiting import Late, wait_until

READY_S = 10
ATTACH_S = 20
COMMAND_S = 20
STOP_S = 60


class CommandFailed(Exception):
    """ebbctl said no."""


class Host:
    """A context: whatever it started ends with it."""

    def __init__(self, build: Path) -> None:
        self.build = build
        self.folder = Path(tempfile.mkdtemp(prefix="ebb-synthetic-"))
        self.ebbds: list[Ebbd] = []
        self._cleanup = ExitStack()
        self._cleanup.callback(shutil.rmtree, self.folder, ignore_errors=True)

    def __enter__(self) -> "Host":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._cleanup.close()

    @property
    def ebbd(self) -> Ebbd:
        """The one that was started last."""
        return self.ebbds[-1]

    def start_ebbd(self) -> None:
        log = self.folder / f"ebbd-{len(self.ebbds)}.log"
        ebbd = Ebbd(self.build / "hostd/ebbd", self.folder, log, handover_group="")
        self.ebbds.append(ebbd)
        # VMs are killed before (callbacks run in reverse order), so nothing has to come back.
        self._cleanup.callback(lambda: ebbd.death() or ebbd.stop(STOP_S))
        wait_until(lambda: "is ready in" in log.read_text() or ebbd.death() is not None, READY_S,
                   "ebbd is ready")
        if ebbd.death() is not None:
            raise Late(f"{ebbd.death()}: {log.read_text()}")

    def start_vm(self, settings: Settings) -> SyntheticVm:
        """With its memory filled, and attached."""
        vm = SyntheticVm(self.build, self.folder, settings)
        self._cleanup.callback(vm.kill)
        vm.await_filled()
        self.await_attached(vm)
        return vm

    def await_attached(self, vm: SyntheticVm) -> None:
        wait_until(lambda: self.is_attached(vm), ATTACH_S, f"{vm.name} is attached")

    def is_attached(self, vm: SyntheticVm) -> bool:
        return vm.name in {known["name"] for known in self.ebbctl("list")["vms"]}

    def show(self, vm: SyntheticVm) -> dict[str, Any]:
        return self.ebbctl("show", vm.name)

    def ebbctl(self, *arguments: str) -> Any:
        done = subprocess.run(
            [str(self.build / "hostd/ctl/ebbctl"), "--json", "--socket",
             str(self.ebbd.control_socket), *arguments],
            capture_output=True, text=True, timeout=COMMAND_S, check=False)
        if done.returncode != 0:
            raise CommandFailed(f"ebbctl {' '.join(arguments)}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def logs(self) -> str:
        """For a failed test."""
        parts = [f"== {log.name}\n{log.read_text()[-60000:]}"
                 for log in sorted(self.folder.glob("*.log"))]
        return "\n".join(parts)
