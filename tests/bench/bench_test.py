#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""bench_test.py BUILD: ./bench measures what it promises, refuses what it does not know, and leaves
nothing behind, however it ends."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import zram
from figure import Anchor, Figure, as_json, as_table
from tap import run_unit_tests

BENCH = Path(__file__).with_name("bench.py")
BUILD = sys.argv.pop()
DEADLINE_S = 60

ENGINE_FIGURES = {
    "pool_overhead_ratio", "pool_overhead_churned_ratio", "pool_overhead_shifted_ratio",
    "pool_overhead_halved_ratio", "pool_bytes_vs_zram", "metadata_bytes_per_page",
    "page_table_bytes_per_page", "disk_blocks_per_page",
    "disk_reads_per_page_in", "lookup_ns", "lookup_2_threads_ns",
}
ANCHORED = {"pool_overhead_ratio", "pool_bytes_vs_zram"}
MARK = f"EBB_BENCH_TEST={os.getpid()}"


def zram_devices() -> list[str]:
    return sorted(folder.name for folder in Path("/sys/block").glob("zram*"))


def marked_processes() -> list[str]:
    """What the bench has started, it included, and what those have."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if MARK.encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_bytes().decode(errors="replace"))
        except OSError:
            continue  # another user's, or gone
    return found


class BenchCase(unittest.TestCase):
    """Runs the bench in a folder of its own, where all of its files lie."""

    def setUp(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.addCleanup(self._folder.cleanup)
        self.files = Path(self._folder.name, "files")
        self.files.mkdir()
        self.result = Path(self._folder.name, "result.json")
        self._before = (zram_devices(), Path("/proc/mounts").read_text(encoding="utf-8"))

    def start(self, *arguments: str) -> subprocess.Popen:
        name, value = MARK.split("=")
        bench = subprocess.Popen(
            [sys.executable, "-B", str(BENCH), "--build", BUILD, "--trial", *arguments],
            env={**os.environ, "TMPDIR": str(self.files), name: value},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(bench.communicate)
        self.addCleanup(bench.kill)
        return bench

    def assert_nothing_is_left(self) -> None:
        self.assertEqual((zram_devices(), Path("/proc/mounts").read_text(encoding="utf-8")),
                         self._before)
        self.assertEqual(marked_processes(), [])
        self.assertEqual(list(self.files.iterdir()), [])


class EngineTest(BenchCase):
    def test_the_figures_are_there_and_nothing_is_left(self) -> None:
        bench = self.start("--only", "engine", "--json", str(self.result))
        output, progress = bench.communicate(timeout=DEADLINE_S)
        self.assertEqual(bench.returncode, 0, progress)
        self.assert_nothing_is_left()
        self.assertIn("making data", progress)
        figures = json.loads(self.result.read_text(encoding="utf-8"))
        self.assertEqual({figure["name"] for figure in figures}, ENGINE_FIGURES)
        for figure in figures:
            self.assertEqual(set(figure),
                             {"name", "value", "unit", "anchor", "anchor_value", "ratio"})
            self.assertGreater(figure["value"], 0, figure)
            self.assertIn(figure["name"], output)
        anchored = {figure["name"] for figure in figures if figure["anchor"] is not None}
        for figure in figures:
            if figure["name"] in anchored:
                self.assertAlmostEqual(figure["ratio"], figure["value"] / figure["anchor_value"])
            else:
                self.assertIsNone(figure["anchor_value"])
                self.assertIsNone(figure["ratio"])
        if os.geteuid() == 0 and zram.CONTROL.exists():
            self.assertEqual(anchored, ANCHORED)
        elif not anchored:
            self.assertIn("zram was not measured: ", output)


class StoppedTest(BenchCase):
    def assert_stops(self, number: int, step: str) -> None:
        bench = self.start("--halt-at", step)
        os.waitid(os.P_PID, bench.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        bench.send_signal(number)
        bench.send_signal(signal.SIGCONT)
        _, rest = bench.communicate(timeout=DEADLINE_S)
        self.assertEqual(bench.returncode, 128 + number, rest)
        self.assertIn(signal.Signals(number).name, rest)
        self.assert_nothing_is_left()

    def test_while_it_makes_data(self) -> None:
        self.assert_stops(signal.SIGINT, "a Python heap")

    def test_while_its_program_runs(self) -> None:
        self.assert_stops(signal.SIGTERM, "changing what the pool holds")

    @unittest.skipUnless(os.geteuid() == 0 and zram.CONTROL.exists(), "needs root and zram")
    def test_while_it_has_a_zram_device(self) -> None:
        self.assert_stops(signal.SIGINT, "zram")


class RefusalTest(BenchCase):
    def assert_refused(self, text: str, *arguments: str) -> None:
        bench = self.start(*arguments)
        output, complaint = bench.communicate(timeout=DEADLINE_S)
        self.assertEqual(bench.returncode, 2)
        self.assertEqual(output, "")
        self.assertIn(text, complaint.splitlines()[-1])
        self.assertNotIn("making data", complaint)

    def test_an_unknown_group(self) -> None:
        self.assert_refused("there is no group 'motor': there is engine", "--only", "motor")

    def test_an_unknown_option(self) -> None:
        self.assert_refused("--fast", "--fast")

    def test_a_file_that_cannot_be_written(self) -> None:
        self.assert_refused("there is no folder /nowhere", "--json", "/nowhere/result.json")


class FigureTest(unittest.TestCase):
    FIGURES = [Figure("size", 1500, "bytes", Anchor("other", 2000)), Figure("time", 0.25, "ns")]

    def test_a_ratio_is_to_the_anchor(self) -> None:
        self.assertEqual([figure["ratio"] for figure in as_json(self.FIGURES)], [0.75, None])

    def test_the_table_has_a_row_per_figure(self) -> None:
        rows = [row.split() for row in as_table(self.FIGURES).splitlines()[2:]]
        self.assertEqual(rows, [["size", "1,500", "bytes", "other", "2,000", "0.750"],
                                ["time", "0.250", "ns", "-", "-", "-"]])


if __name__ == "__main__":
    run_unit_tests()
