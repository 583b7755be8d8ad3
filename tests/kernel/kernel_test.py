#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""kernel_test.py BUILD RELEASE: the kernel probe, the hammer, the guard of VMs' memory and the rule
about the kernel's swap, in the kernel of that Debian release, with a virtio disk. A million
operations on pages take two to three minutes where two CPUs have nothing else to do."""

import contextlib
import os
import sys
import tempfile
from pathlib import Path

from debian_package import Apt, PackageError
from folders import give_to_owner
from guest_kernel import fetch_kernel
from kernel_guest import run_in_guest
from options import REPOSITORY
from tap import Tap, skip_all

RELEASES = {"bookworm": "6.1.", "trixie": "6.12."}
NEEDED = "bookworm"  # what every ./check tests in
KERNELS = REPOSITORY / "build/kernels"
SECONDS = 1200
SLOWNESS = ("--slowness", "10")


def main() -> int:
    build, release = Path(sys.argv[1]).resolve(), sys.argv[2]
    if os.geteuid() != 0:
        skip_all("needs root")
    tap = Tap()
    folder = KERNELS / release
    try:
        with contextlib.redirect_stdout(sys.stderr):  # it may have news, which are no TAP
            kernel = fetch_kernel(folder, Apt.of_release(release, folder / "apt"))
    except PackageError as error:
        reason = f"the kernel of {release} cannot be had: {' '.join(str(error).split())[:300]}"
        if release != NEEDED:
            skip_all(reason)
        tap.check(False, reason)
        return tap.finish()
    give_to_owner(KERNELS)
    hammer = str(build / "tests/hammer/hammer")
    steps = {
        "the kernel probe finds what Ebb relies on":
            [str(build / "tests/hostd/os/os_kernel_test"),
             "--gtest_filter=KernelProbe.ThisKernelPasses"],
        "nobody opens what the guard forbids":
            [str(build / "tests/hostd/os/os_kernel_test"), "--gtest_filter=OpenGuardTest.*"],
        "kernel swap: refused, but for memory.swap.max=0, and then right":
            [str(build / "tests/kernel/kernel_swap_test"), hammer],
        "hammer, 64 pages":
            [hammer, "--pages", "64", "--operations", "100000", *SLOWNESS],
        "hammer, 4096 pages":
            [hammer, "--pages", "4096", "--operations", "850000", "--seconds", "900", *SLOWNESS],
    }
    with tempfile.TemporaryDirectory(dir=build) as work:
        outcome = run_in_guest(kernel, build / "tests/kernel/kernel_init", list(steps.values()),
                               Path(work), SECONDS)
    tap.check(kernel.modules.name.startswith(RELEASES[release]),
              f"the kernel of {release} is {kernel.modules.name}")
    for index, what in enumerate(steps):
        status = outcome.statuses[index] if index < len(outcome.statuses) else None
        tap.check(status == 0, f"{what} ({'not ended' if status is None else f'status {status}'})")
    tap.check(outcome.is_done, "the guest did all of it")
    tap.note(outcome.console)
    return tap.finish()


if __name__ == "__main__":
    sys.exit(main())
