#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The guest's console, the size of its workload, and the order of its modules."""

import lzma
import tempfile
import unittest
from pathlib import Path

from guest import Console, Workload
from guest_kernel import GuestKernelError, module_name, module_order
from sizes import MIB
from tap import run_unit_tests

REPORT = ('EBB {"seconds": 3.4, "phase": "filling", "used_bytes": 592715776, '
          '"filled_bytes": 549404672, "verified_bytes": 0, "wrong_bytes": 0, "sweeps": 0, '
          '"disk_sweeps": 0, "hot_rewrites": 0}')


class ConsoleTest(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.log = Path(folder.name) / "console.log"
        self.console = Console(self.log)

    def write(self, text: str) -> None:
        with self.log.open("a") as log:
            log.write(text)

    def test_before_there_is_a_log(self) -> None:
        self.assertEqual(self.console.read(), [])

    def test_reports_are_read_once_and_when_they_are_whole(self) -> None:
        self.write(f"{REPORT}\r\n{REPORT[:40]}")
        self.assertEqual([report.filled_bytes for report in self.console.read()], [549404672])
        self.assertEqual(self.console.read(), [])
        self.write(f"{REPORT[40:]}\r\n")
        self.assertEqual(len(self.console.read()), 1)

    def test_what_the_kernel_says_is_no_report(self) -> None:
        self.write(f"[    1.3] reboot: Power down\n[    1.4] x{REPORT}\nEBB {{broken\nEBB {{}}\n")
        self.assertEqual(len(self.console.read()), 1)

    def test_wrong_pages_and_failures_are_kept(self) -> None:
        self.write("EBB-WRONG part=memory page=7\nEBB-FAIL no disk\nEBB-FAIL later\n")
        self.console.read()
        self.assertEqual(self.console.wrong_pages, ["part=memory page=7"])
        self.assertEqual(self.console.failure, "no disk")


class WorkloadTest(unittest.TestCase):
    def test_a_guest_with_1_gib_fills_700_mib(self) -> None:
        workload = Workload.for_ram(1024 * MIB, seed=1)
        self.assertEqual(workload.memory_bytes, 600 * MIB)
        self.assertEqual(workload.disk_bytes, 100 * MIB)
        self.assertEqual(workload.hot_bytes, 64 * MIB)

    def test_other_guests_fill_as_much_of_theirs(self) -> None:
        self.assertEqual(Workload.for_ram(512 * MIB, seed=1).fill_bytes, 350 * MIB)


class ModuleOrderTest(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.modules = Path(folder.name)
        (self.modules / "modules.builtin").write_text("kernel/drivers/virtio/virtio_pci_lib.ko\n")

    def add(self, name: str, depends: str) -> None:
        module = b"\x7fELF\0license=GPL\0depends=" + depends.encode() + b"\0retpoline=Y\0"
        content = lzma.compress(module) if name.endswith(".xz") else module
        (self.modules / name).write_bytes(content)

    def order(self, *wanted: str) -> list[str]:
        return [module_name(path) for path in module_order(self.modules, wanted)]

    def test_a_module_comes_after_what_it_depends_on(self) -> None:
        self.add("virtio-pci.ko.xz", "virtio,virtio_ring,virtio_pci_lib")
        self.add("virtio.ko.xz", "virtio_ring")
        self.add("virtio_ring.ko.xz", "")
        self.add("virtio_blk.ko.xz", "virtio,virtio_ring")
        self.assertEqual(self.order("virtio_pci", "virtio_blk"),
                         ["virtio_ring", "virtio", "virtio_pci", "virtio_blk"])

    def test_uncompressed_modules_and_builtin_ones(self) -> None:
        self.add("virtio_blk.ko", "virtio_pci_lib")
        self.assertEqual(self.order("virtio_pci_lib", "virtio_blk"), ["virtio_blk"])

    def test_a_module_that_is_nowhere(self) -> None:
        self.add("virtio_blk.ko", "virtio")
        with self.assertRaisesRegex(GuestKernelError, "no module virtio"):
            self.order("virtio_blk")


if __name__ == "__main__":
    run_unit_tests()
