#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""first_light.py BUILD plugin|preload: ./run's guest, smaller and for a short time, must pass."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from record import OVERSHOOT
from sizes import MIB
from tap import Tap, skip_all

RUN = Path(__file__).with_name("run.py")
SECONDS = 75
RAM_BYTES = 512 * MIB
LIMIT_BYTES = 160 * MIB

KEYS = {
    "guest_ram_bytes", "guest_used_bytes", "content_lz4_ratio", "resident_limit_bytes",
    "resident_bytes_max_after_settling", "host_bytes_max_after_settling", "swapped_bytes_max",
    "pool_bytes_max", "pages_swapped_out", "pages_swapped_in", "verified_bytes", "wrong_bytes",
    "fault_p50_us", "fault_p99_us", "paced_us_total", "barriers", "barrier_p99_ms", "detached",
    "accelerator", "qemu_version", "qemu_pid",
}


def check_result(tap: Tap, result: dict[str, Any]) -> None:
    tap.check(set(result) == KEYS, "the result has the agreed keys")
    tap.check(all(value is not None for value in result.values()), "everything was measured")
    tap.check(result["guest_ram_bytes"] == RAM_BYTES, "the guest had the memory asked for")
    tap.check(1.8 <= result["content_lz4_ratio"] <= 2.2, "the content compresses as a server's")
    tap.check(result["resident_limit_bytes"] == LIMIT_BYTES, "the limit was the one asked for")
    tap.check(result["resident_bytes_max_after_settling"] <= OVERSHOOT * LIMIT_BYTES,
              "the limit was held")
    tap.check(result["host_bytes_max_after_settling"] < result["guest_used_bytes"],
              "the host spent less than the guest used")
    tap.check(result["verified_bytes"] > 0, "the guest verified its memory")
    tap.check(result["wrong_bytes"] == 0, "no byte was wrong")
    tap.check(result["pages_swapped_out"] > 0, "pages were swapped out")
    tap.check(result["pages_swapped_in"] > 0, "pages were swapped in")
    tap.check(result["barriers"] > 0, "there were I/O barriers")
    tap.check(result["detached"] == 0, "the VM stayed attached")
    tap.check(not Path(f"/proc/{result['qemu_pid']}").exists(), "QEMU was ended")


def main() -> int:
    build, loader = sys.argv[1:]
    if os.geteuid() != 0:
        skip_all("needs root")
    tap = Tap()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "result.json"
        run = subprocess.run(
            [sys.executable, str(RUN), "--build", build, "--loader", loader,
             "--for", str(SECONDS), "--ram", str(RAM_BYTES), "--limit", str(LIMIT_BYTES),
             "--json", str(file)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        tap.note(run.stdout)
        tap.check(run.returncode == 0, "the run passed")
        tap.check(file.exists(), "the run wrote its result")
        if file.exists():
            check_result(tap, json.loads(file.read_text()))
    return tap.finish()


if __name__ == "__main__":
    sys.exit(main())
