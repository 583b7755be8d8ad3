#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The count that ./check ends with, against logs as meson writes them (.ci/report_tests.py)."""

import json
import os
import sys
import tempfile

from source import ROOT, Tap

sys.path.insert(0, os.path.join(ROOT, ".ci"))
import report_tests  # pylint: disable=wrong-import-position

PASSED = '<testcase name="A" classname="S"/>'
FAILED = '<testcase name="B" classname="S"><failure message="x"/></testcase>'
SKIPPED = '<testcase name="C" classname="S"><skipped message="a.cc:1&#x0A;no KVM"/></testcase>'
SILENT = '<testcase name="D" classname="S"><skipped message="a.cc:1&#x0A;"/></testcase>'
DISABLED = '<testcase name="DISABLED_E" classname="S" status="notrun"/>'
TAP_SKIPPED = ('<testcase name="1 f" classname="ebb.ebb:unit / p"><skipped/>'
               "<system-out>no root</system-out></testcase>")

SAMPLES = [  # (what, junit suite of the program or None, its cases, result, exit code, stdout,
             #  passed, why failed, why skipped)
    ("gtest cases", "p.S", PASSED * 3, "OK", 0, "", 3, [], []),
    ("a failed gtest case", "p.S", PASSED + FAILED, "FAIL", 1, "", 1, ["failed"], []),
    ("skipped gtest cases", "p.S", SKIPPED + DISABLED, "OK", 0, "", 0, [],
     ["no KVM", "its name starts with DISABLED_"]),
    ("a skip without a reason", "p.S", PASSED + SILENT, "OK", 0, "", 1,
     ["skipped without saying why"], []),
    ("a crash after the last case", "p.S", PASSED, "FAIL", -11, "", 1, ["fail, exit code -11"], []),
    ("a crash before the xml", None, PASSED, "FAIL", -6, "", 0, ["fail, exit code -6"], []),
    ("a timeout, which junit shows as passed", None, PASSED, "TIMEOUT", -15, "", 0,
     ["timeout, exit code -15"], []),
    ("a plain program", None, PASSED, "OK", 0, "", 1, [], []),
    ("a plain program that skips", None, SKIPPED, "SKIP", 77, "a\nno loop device\n", 0, [],
     ["no loop device"]),
    ("TAP cases", "p", PASSED + TAP_SKIPPED, "OK", 0, "", 1, [], ["no root"]),
    ("TAP with too few cases", "p", PASSED, "ERROR", 0, "", 1, ["error, exit code 0"], []),
    ("a TAP program that skips all", None, SKIPPED, "SKIP", 0, "1..0 # SKIP no /dev/kvm\n", 0, [],
     ["no /dev/kvm"]),
]


def count(suite, cases, result, exit_code, stdout):
    name = "ebb" if suite is None else f"ebb.ebb:unit / {suite}"
    with tempfile.TemporaryDirectory() as build_dir:
        os.mkdir(os.path.join(build_dir, "meson-logs"))
        log = os.path.join(build_dir, "meson-logs", "testlog-unit")
        with open(log + ".junit.xml", "w", encoding="utf-8") as file:
            file.write(f'<testsuites><testsuite name="{name}">{cases}</testsuite></testsuites>')
        with open(log + ".json", "w", encoding="utf-8") as file:
            json.dump({"name": "ebb:unit / p", "result": result, "returncode": exit_code,
                       "stdout": stdout}, file)
        counts = report_tests.Counts()
        report_tests.count_run(counts, build_dir, "unit")
    return counts.passed, [why for _, why, _ in counts.failed], [why for _, why in counts.skipped]


def main():
    tap = Tap()
    for what, suite, cases, result, exit_code, stdout, *expected in SAMPLES:
        counted = list(count(suite, cases, result, exit_code, stdout))
        tap.point(what, [] if counted == expected else [f"counted {counted}, not {expected}"])
    counts = report_tests.Counts()
    with tempfile.TemporaryDirectory() as build_dir:
        report_tests.count_run(counts, build_dir, "unit")
    tap.point("a suite without tests fails", [] if len(counts.failed) == 1 else ["it passed"])
    tap.end()


if __name__ == "__main__":
    main()
