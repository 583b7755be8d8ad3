# SPDX-License-Identifier: MIT
"""Checks as TAP lines; the exit status says the same."""


class Tap:
    def __init__(self):
        self.count = 0
        self.failed = 0

    def check(self, ok, name, detail=""):
        self.count += 1
        self.failed += not ok
        print(f"{'ok' if ok else 'not ok'} {self.count} - {name}", flush=True)
        if not ok and detail:
            for line in str(detail).splitlines():
                print(f"# {line}", flush=True)
        return ok

    def equal(self, got, expected, name):
        return self.check(got == expected, name, f"got {got!r}, expected {expected!r}")

    def skip_all(self, reason):
        print(f"1..0 # SKIP {reason}")
        raise SystemExit(0)

    def done(self):
        print(f"1..{self.count}")
        raise SystemExit(1 if self.failed else 0)
