#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""libvirt_test.py BUILD plugin|preload: the domain of docs/LIBVIRT.md, under a real libvirtd, as
libvirt-qemu in libvirt's sandbox. A guest is overcommitted, and what an operator does to it by
virsh goes well; then a page of it cannot be produced, and can again."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import libvirt_host
import options
from control import ControlError, NotKnown
from ebbd import STOP_S, Ebbd
from folders import Folders
from guest import Console, GuestReport
from libvirt_host import QEMU_NAMESPACE, QEMU_UID, Libvirt, LibvirtError
from pool_damage import damaged_pool
from preparation import Prepared, prepare
from process import ROOT, User, obey_ending_signals
from sizes import MIB
from tap import Tap, skip_all

NAME = "web"
RAM_BYTES = 384 * MIB
LIMIT_BYTES = 96 * MIB
OVERSHOOT = 1.1
PARAMETERS = ("ebb.seed=1 ebb.fill_mib=160 ebb.hot_mib=8 ebb.disk_mib=16 ebb.fill_mib_s=200 "
              "ebb.sweep_mib_s=20")
RUNTIME = Path("/run/ebb")
CONSOLE = Path("/var/log/libvirt/web-console.log")
DISK = Path("/var/lib/libvirt/images/web.img")
READY_S = 20
BOOT_S = 120
FILLED_S = 90
SETTLED_S = 60
HELD_S = 60
VERIFIED_BYTES = 128 * MIB
POLL_S = 0.2
SHORT_S = 3


class LibvirtCheck:
    def __init__(self, tap: Tap, prepared: Prepared, folders: Folders, loader: str) -> None:
        self._tap = tap
        self._prepared = prepared
        self._folders = folders
        self._loader = loader
        self._report: GuestReport | None = None
        self._console = Console(CONSOLE)

    def run(self, cleanup: contextlib.ExitStack) -> None:
        libvirt_host.isolate(self._folders, self._prepared.vm.library)
        libvirt_host.show_file(self._prepared.vm.disks[0].image, DISK)
        self._libvirt = Libvirt(self._folders)
        cleanup.callback(self._libvirt.close)
        self._start_ebbd()
        cleanup.callback(lambda: self._ebbd.stop(STOP_S))
        self._wait(self._libvirt.is_ready, READY_S, "libvirtd and virtlogd start")
        self._check_start()
        self._check_operations()
        self._check_save()
        self._check_held()
        self._libvirt.virsh("destroy", NAME)
        self._wait(lambda: self._vm() is None, READY_S, "destroy: ebbd lets go of it")
        self._check_ebbd_is_late()

    def _check_start(self) -> None:
        self._virsh("define", str(self._domain_file()))
        self._virsh("start", NAME)
        self._wait(lambda: self._vm() is not None, READY_S, "ebbd takes the VM of the page's XML")
        pid = self._vm()["pid"]
        status = Path(f"/proc/{pid}/status").read_text()
        self._tap.check(f"Uid:\t{QEMU_UID}\t" in status and "Seccomp:\t2" in status,
                        "it runs as libvirt-qemu, in the sandbox")
        self._tap.check("custom configuration parameters" in self._virsh("dominfo", NAME),
                        "libvirt calls it tainted, as the page says")
        self._fill_and_settle("start")
        rss = int(self._virsh("dommemstat", NAME).split("rss ")[1].split()[0])
        self._tap.check(rss < RAM_BYTES // 1024 // 2, f"dommemstat's rss has gone down ({rss} KiB)")

    def _check_operations(self) -> None:
        self._virsh("suspend", NAME)
        self._tap.check(self._virsh("domstate", NAME) == "paused", "suspend")
        self._virsh("resume", NAME)
        self._check_goes_on("resume")
        self._tap.check(self._libvirt.stop() is None, "libvirtd stops")
        self._libvirt.start()
        self._wait(lambda: self._state() == "running", READY_S, "libvirtd starts again")
        self._check_goes_on("after libvirtd has started again")
        # To QEMU both are a reset; one a run, for the time it takes a guest to boot and fill.
        self._check_boots_again("reset" if self._loader == "plugin" else "reboot")

    def _check_boots_again(self, command: str) -> None:
        """`reboot` presses the power button: the guest shuts down first."""
        before = self._vm()
        seconds = self._uptime()
        self._virsh(command, NAME)
        self._wait(lambda: self._uptime() < seconds, BOOT_S, f"{command}: the guest boots again")
        after = self._vm()
        self._tap.check((after["pid"], after["limit_bytes"]) == (before["pid"], LIMIT_BYTES),
                        f"{command}: in the same QEMU, which still has its limit")
        self._tap.check(after["swapped_bytes"] > before["swapped_bytes"] // 2,
                        f"{command}: what is stored is kept")
        self._fill_and_settle(command)

    def _check_save(self) -> None:
        started = time.monotonic()
        self._virsh("managedsave", NAME)
        self._tap.note(f"managedsave took {time.monotonic() - started:.1f} s")
        self._wait(lambda: self._vm() is None, READY_S, "managedsave: ebbd lets go of it")
        self._read_console()
        self._virsh("start", NAME)
        self._console.move_to(CONSOLE)  # libvirt empties it
        self._wait(lambda: self._vm() is not None, READY_S, "start from it: ebbd takes it again")
        self._settle("managedsave")
        self._check_goes_on("managedsave")

    def _check_held(self) -> None:
        """Damages what ebbd has stored, as failing memory would."""
        with self._damaged_pool():
            self._wait(lambda: self._vm()["state"] == "held", HELD_S, "a damaged page holds the VM")
            self._tap.check(self._virsh("domstate", NAME) == "running", "held: domstate")
            suspending = subprocess.Popen(["virsh", "-q", "-c", "qemu:///system", "suspend", NAME])
            try:
                suspending.wait(SHORT_S)
                self._tap.note("suspend did not wait: no vCPU has come to the page")
            except subprocess.TimeoutExpired:
                self._tap.note("suspend waits for the page")
        self._wait(lambda: suspending.poll() is not None, HELD_S, "healed: suspend is done")
        self._wait(lambda: self._vm()["state"] == "running", HELD_S, "healed: not held any more")
        self._virsh("resume", NAME)
        self._settle("healed")
        self._check_goes_on("healed")
        with self._damaged_pool():
            self._wait(lambda: self._vm()["state"] == "held", HELD_S, "and is held again")
            self._virsh("destroy", NAME)
            self._tap.check(self._state() == "shut off", "held: destroy")
        self._virsh("start", NAME)
        self._wait(lambda: self._vm() is not None, READY_S, "and started afresh it is managed")

    def _check_ebbd_is_late(self) -> None:
        self._tap.check(self._ebbd.stop(STOP_S) is None, "ebbd stops")
        self._virsh("start", NAME)
        self._tap.check(self._state() == "running", "without ebbd it starts, too")
        self._start_ebbd()
        self._wait(lambda: self._vm() is not None, READY_S, "and is taken when ebbd comes")

    @contextlib.contextmanager
    def _damaged_pool(self) -> Iterator[None]:
        """Nothing is stored meanwhile, or moved: what had been damaged before would not be healed.
        So QEMU rests until ebbd does, too, and goes on with its pool damaged."""
        self._ebbd.control.set_limit(NAME, 0)
        qemu = self._vm()["pid"]
        seen = [()]

        def is_idle() -> bool:
            vm = self._vm()
            before, seen[0] = seen[0], (vm["pages_swapped_out"], vm["pool_used_bytes"])
            return before == seen[0]
        with contextlib.ExitStack() as damage:
            os.kill(qemu, signal.SIGSTOP)
            try:
                self._wait(is_idle, READY_S, "without a limit nothing is taken")
                damage.enter_context(damaged_pool(self._ebbd.pid))
            finally:
                os.kill(qemu, signal.SIGCONT)
            yield

    def _start_ebbd(self) -> None:
        self._ebbd = Ebbd(self._prepared.ebbd, RUNTIME, self._folders.log("ebbd"), "kvm")
        self._wait(self._ebbd.is_ready, READY_S, "ebbd starts")

    def _fill_and_settle(self, how: str) -> None:
        self._wait(self._is_full, FILLED_S, f"{how}: the guest filled its memory")
        self._settle(how)
        self._check_goes_on(how)

    def _settle(self, how: str) -> None:
        self._ebbd.control.set_limit(NAME, LIMIT_BYTES)
        self._wait(self._is_settled, SETTLED_S, f"{how}: most of it was taken away")

    def _check_goes_on(self, how: str) -> None:
        self._read_console()
        before = self._report.verified_bytes
        self._wait(lambda: self._verified() > before + VERIFIED_BYTES, SETTLED_S,
                   f"{how}: the guest verifies its memory")
        self._tap.check(self._report.wrong_bytes == 0 and not self._console.wrong_pages
                        and self._console.failure is None, f"{how}: no byte is wrong")

    def _is_full(self) -> bool:
        self._read_console()
        return self._report is not None and self._report.phase == "running"

    def _is_settled(self) -> bool:
        vm = self._vm()
        return vm["swapped_bytes"] > 0 and vm["resident_bytes"] <= OVERSHOOT * LIMIT_BYTES

    def _verified(self) -> int:
        self._read_console()
        return self._report.verified_bytes

    def _uptime(self) -> float:
        self._read_console()
        return self._report.seconds

    def _read_console(self) -> None:
        for report in self._console.read():
            self._report = report

    def _vm(self) -> dict[str, Any] | None:
        try:
            return self._ebbd.control.vm(NAME)
        except NotKnown:
            return None

    def _state(self) -> str:
        try:
            return self._libvirt.virsh("domstate", NAME)
        except LibvirtError:
            return ""

    def _virsh(self, *arguments: str) -> str:
        return self._libvirt.virsh(*arguments)

    def _wait(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        """A check of its own; nothing goes on where it fails."""
        deadline = time.monotonic() + seconds
        while not (done := condition()) and time.monotonic() < deadline:
            time.sleep(POLL_S)  # style-ok(sleep): polls with a deadline
        self._tap.check(done, what)
        if not done:
            raise LibvirtError(f"not within {seconds:.0f} s: {what}")

    def _domain_file(self) -> Path:
        """The page's, but for what a test guest needs to boot, and KVM."""
        domain, preload = libvirt_host.xml_of_page()
        if self._loader == "preload":
            domain.remove(domain.find(f"{{{QEMU_NAMESPACE}}}commandline"))
            domain.append(preload)
        domain.set("type", "qemu")
        domain.find("memory").set("unit", "MiB")
        domain.find("memory").text = str(RAM_BYTES // MIB)
        vm = self._prepared.vm
        for tag, text in (("kernel", str(vm.kernel)), ("initrd", str(vm.initramfs)),
                          ("cmdline", f"console=ttyS0 quiet panic=-1 {PARAMETERS}")):
            ElementTree.SubElement(domain.find("os"), tag).text = text
        serial = ElementTree.SubElement(domain.find("devices"), "serial", type="file")
        ElementTree.SubElement(serial, "source", path=str(CONSOLE))
        file = self._folders.root / "domain.xml"
        ElementTree.ElementTree(domain).write(file)
        return file


def main() -> int:
    if os.geteuid() != 0:
        skip_all("needs root")
    missing = libvirt_host.missing_programs()
    if missing:
        skip_all(f"no {', '.join(missing)}: apt install libvirt-daemon libvirt-clients")
    libvirt_host.go_on_under_an_init()
    obey_ending_signals()
    tap = Tap()
    user = User(libvirt_host.QEMU_USER, QEMU_UID, 0, "root")
    folders = Folders(ROOT)
    arguments = options.parse(["--build", str(Path(sys.argv[1]).resolve()), "--accel", "tcg",
                               "--ram", str(RAM_BYTES), "--limit", str(LIMIT_BYTES)])
    try:
        with contextlib.redirect_stdout(sys.stderr):  # it may have news, which are no TAP
            prepared = prepare(arguments, folders, user)
        with contextlib.ExitStack() as cleanup:
            LibvirtCheck(tap, prepared, folders, sys.argv[2]).run(cleanup)
    except (LibvirtError, ControlError) as error:
        tap.check(False, str(error).replace("\n", " "))
    finally:
        for log in [*folders.logs(), *Path("/var/log/libvirt").rglob("*.log")]:
            tap.note(f"{log.name}:\n{log.read_text(errors='replace')[-4000:]}")
        folders.remove()
    return tap.finish()


if __name__ == "__main__":
    sys.exit(main())
