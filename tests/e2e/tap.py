# SPDX-License-Identifier: MIT
"""Test results as meson reads them (TAP)."""

import sys
import unittest


class _TapResult(unittest.TestResult):
    def addSuccess(self, test: unittest.TestCase) -> None:
        super().addSuccess(test)
        print(f"ok {self.testsRun} - {test.id()}")

    def addFailure(self, test: unittest.TestCase, err) -> None:
        super().addFailure(test, err)
        self._not_ok(test, self.failures[-1][1])

    def addError(self, test: unittest.TestCase, err) -> None:
        super().addError(test, err)
        self._not_ok(test, self.errors[-1][1])

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        super().addSkip(test, reason)
        print(f"ok {self.testsRun} - {test.id()} # SKIP {reason}")

    def _not_ok(self, test: unittest.TestCase, trace: str) -> None:
        print(f"not ok {self.testsRun} - {test.id()}")
        for line in trace.splitlines():
            print(f"# {line}")


def run_unit_tests() -> None:
    """Runs the test cases of the calling script."""
    suite = unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"])
    print(f"1..{suite.countTestCases()}")
    result = _TapResult()
    suite.run(result)
    sys.exit(0 if result.wasSuccessful() else 1)


class Tap:
    """Checks of a script that is one long test."""

    def __init__(self) -> None:
        self._checks = 0
        self._failed = 0

    def check(self, passed: bool, what: str) -> None:
        self._checks += 1
        self._failed += not passed
        print(f"{'ok' if passed else 'not ok'} {self._checks} - {what}", flush=True)

    def note(self, text: str) -> None:
        for line in text.splitlines():
            print(f"# {line}", flush=True)

    def finish(self) -> int:
        print(f"1..{self._checks}")
        return 1 if self._failed else 0


def skip_all(reason: str) -> None:
    print(f"1..0 # SKIP {reason}")
    sys.exit(0)
