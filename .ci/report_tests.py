#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The end of ./check: skipped tests with their reasons, failed tests with their logs, the count.

usage: report_tests.py --step-logs DIR --failed-steps "NAME NAME" BUILD_DIR/SUITE...

Counts test cases, not test programs. Meson writes two logs per run and neither is enough alone:
the junit file has the cases of gtest and TAP programs, but no sign of a timeout or of a program
that crashed after its cases had passed; the json file has one result per program.
"""

import argparse
import dataclasses
import json
import os
import re
import sys
import xml.etree.ElementTree as ElementTree

PROGRAM_RESULTS_GOOD = {"OK", "EXPECTEDFAIL"}
PROJECT = "ebb"


@dataclasses.dataclass
class Counts:
    passed: int = 0
    failed: list = dataclasses.field(default_factory=list)  # (test, why, log)
    skipped: list = dataclasses.field(default_factory=list)  # (test, reason)

    def skip(self, test, reason, log):
        if reason:
            self.skipped.append((test, reason))
        else:
            self.failed.append((test, "skipped without saying why", log))


def last_line(text):
    lines = [line.strip() for line in (text or "").splitlines() if line.strip()]
    return lines[-1] if lines else ""


def skip_reason_of_case(case):
    """gtest: "FILE:LINE", newline, what GTEST_SKIP() was given. TAP: the text of system-out."""
    message = case.find("skipped").get("message", "")
    reason = " ".join(line.strip() for line in message.splitlines()[1:])
    return reason or (case.findtext("system-out") or "").strip()


def skip_reason_of_program(program):
    """TAP's `1..0 # SKIP reason`, or the last line of a program that exited with 77."""
    plan = re.search(r"^1\.\.0\s*#\s*skip\S*\s*(.*)$", program.get("stdout") or "", re.I | re.M)
    if plan:
        return plan.group(1).strip()
    return last_line(program.get("stdout")) or last_line(program.get("stderr"))


def cases_by_program(junit, program_names):
    """Suites are named PROJECT.PROGRAM (TAP) or PROJECT.PROGRAM.GTEST_SUITE, PROJECT the rest."""
    cases = {name: [] for name in program_names}
    for suite in junit.iter("testsuite"):
        words = suite.get("name")[len(PROJECT) + 1:]
        owners = [name for name in program_names if words == name or words.startswith(name + ".")]
        if owners:
            cases[max(owners, key=len)].extend(suite.iter("testcase"))
    return cases


def case_label(program, case):
    group = case.get("classname", "")
    if group.startswith(f"{PROJECT}."):  # TAP
        return f"{program}: {case.get('name')}"
    return f"{program}: {group}.{case.get('name')}"


def count_program(counts, label, program, cases, log):
    some_case_failed = False
    for case in cases:
        test = case_label(label, case)
        if case.find("failure") is not None or case.find("error") is not None:
            counts.failed.append((test, "failed", log))
            some_case_failed = True
        elif case.find("skipped") is not None:
            counts.skip(test, skip_reason_of_case(case), log)
        elif case.get("status") == "notrun":
            counts.skip(test, "its name starts with DISABLED_", log)
        else:
            counts.passed += 1

    result = program["result"]
    if result == "SKIP":
        if not cases:
            counts.skip(label, skip_reason_of_program(program), log)
    elif result not in PROGRAM_RESULTS_GOOD:
        if not some_case_failed:
            why = f"{result.lower()}, exit code {program['returncode']}"
            counts.failed.append((label, why, log))
    elif not cases:
        counts.passed += 1


def count_run(counts, build_dir, suite):
    log = f"{build_dir}/meson-logs/testlog-{suite}"
    if not os.path.exists(log + ".junit.xml"):
        why = "it has no tests, or meson broke off"
        counts.failed.append((f"suite {suite}", why, log + ".txt"))
        return
    # meson copies what a test says as it is, and XML has no control characters.
    with open(log + ".junit.xml", encoding="utf-8", errors="replace") as report:
        text = re.sub(r"[^\t\n\r -\ufffd]", "?", report.read())
    junit = ElementTree.fromstring(text)
    with open(log + ".json", encoding="utf-8") as lines:
        programs = {(program := json.loads(line))["name"]: program for line in lines}
    cases = cases_by_program(junit, programs)
    kind = re.search(r"-(asan|tsan|waits)$", build_dir)
    for name, program in programs.items():
        label = f"{suite}/{name.split(' / ')[-1]}" + (f" ({kind[1]})" if kind else "")
        count_program(counts, label, program, cases[name], log + ".txt")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--step-logs", required=True)
    parser.add_argument("--failed-steps", default="")
    parser.add_argument("runs", nargs="*")
    options = parser.parse_args()

    counts = Counts()
    for run in options.runs:
        count_run(counts, *run.rsplit("/", 1))
    for step in options.failed_steps.split():
        if not step.startswith("tests-"):  # those are counted above
            counts.failed.append((f"step {step}", "failed", f"{options.step_logs}/{step}.log"))

    if counts.skipped:
        print("\nSkipped:")
        for test, reason in counts.skipped:
            print(f"  {test}: {reason}")
    if counts.failed:
        width = max(len(test) for test, _, _ in counts.failed)
        why_width = max(len(why) for _, why, _ in counts.failed)
        print("\nFailed:")
        for test, why, log in counts.failed:
            print(f"  {test:{width}}  {why:{why_width}}  {log}")
    print(f"\n{counts.passed} passed, {len(counts.failed)} failed, {len(counts.skipped)} skipped")
    return 1 if counts.failed else 0


if __name__ == "__main__":
    sys.exit(main())
