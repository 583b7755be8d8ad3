#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""promtool_test.py BUILD: Prometheus' own tool has nothing to say against `ebbctl metrics`."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import debian_package
import metrics
from debian_package import PackageError
from fake_ebbd import FakeEbbd
from folders import give_to_owner
from options import REPOSITORY
from tap import Tap, skip_all

PACKAGES = REPOSITORY / "build/packages"
PROMTOOL_S = 60
# What it must complain about, so that its silence means something.
WRONG = "# TYPE ebb_wait_ms counter\nebb_wait_ms 1\n"


def fetch_promtool() -> Path:
    """The package that has it would start a daemon if it were installed."""
    with contextlib.redirect_stdout(sys.stderr):  # it may have news, which are no TAP
        unpacked = debian_package.fetch("prometheus", PACKAGES / "prometheus")
    if os.geteuid() == 0:
        give_to_owner(PACKAGES)
    return unpacked / "usr/bin/promtool"


def check_metrics(promtool: Path, text: str) -> tuple[int, str]:
    done = subprocess.run([str(promtool), "check", "metrics"], input=text, text=True,
                          capture_output=True, timeout=PROMTOOL_S, check=False)
    return done.returncode, done.stdout + done.stderr


def main() -> int:
    build = Path(sys.argv[1]).resolve()
    try:
        promtool = fetch_promtool()
    except PackageError as error:
        skip_all(f"promtool cannot be had: {' '.join(str(error).split())[:300]}")
    tap = Tap()
    with FakeEbbd(build) as ebbd:
        text = metrics.ask(build / "hostd/ctl/ebbctl", ebbd.control_socket)
    status, complaints = check_metrics(promtool, text)
    tap.note(complaints)
    tap.check(status == 0 and complaints == "", "promtool has no complaint")
    status, complaints = check_metrics(promtool, text + WRONG)
    tap.check(status != 0 and "ebb_wait_ms" in complaints, "and complains where something is wrong")
    return tap.finish()


if __name__ == "__main__":
    sys.exit(main())
