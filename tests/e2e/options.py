# SPDX-License-Identifier: MIT
"""./run's command line."""

import argparse
from pathlib import Path

from sizes import parse_size

REPOSITORY = Path(__file__).resolve().parents[2]


def parse(command_line: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./run",
        description="Installs what it needs, builds Ebb, boots a virtual machine in stock QEMU, "
        "holds it to a fraction of its memory and shows that live. Needs root (apt, "
        "/dev/userfaultfd); changes nothing outside this folder but the packages it names.",
        epilog="Exit status 0: the limit was held and not one byte of the guest was wrong.")
    parser.add_argument("-y", action="store_true", help="install packages without asking")
    parser.add_argument("--for", dest="seconds", metavar="SECONDS", type=float,
                        help="end so many seconds after QEMU was started (default: on Ctrl-C); "
                        "the result counts from 30 s after the guest has filled its memory, so "
                        "less than 75 is too short")
    parser.add_argument("--ram", metavar="SIZE", type=parse_size, default="1G",
                        help="the guest's memory (default: %(default)s)")
    parser.add_argument("--limit", metavar="SIZE", type=parse_size, default="256M",
                        help="how much of it may be resident on the host (default: %(default)s)")
    parser.add_argument("--pool-max", metavar="SIZE", type=parse_size, default=0,
                        help="how much host memory the compressed pages may take (default: no "
                        "maximum)")
    parser.add_argument("--disk", metavar="SIZE", type=parse_size, default=0,
                        help="a file of that size for what has no room there (default: none)")
    parser.add_argument("--loader", choices=("plugin", "preload"), default="plugin",
                        help="how libebb-qemu.so gets into QEMU: by -plugin or by LD_PRELOAD "
                        "(default: %(default)s)")
    parser.add_argument("--accel", choices=("auto", "kvm", "tcg"), default="auto",
                        help="auto takes KVM where the guest's kernel boots under it, else TCG")
    parser.add_argument("--qemu", metavar="PATH", default="qemu-system-x86_64",
                        help="the QEMU to use (default: %(default)s)")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the result to FILE")
    # For tests.
    parser.add_argument("--build", type=Path, default=REPOSITORY / "build", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=1, help=argparse.SUPPRESS)
    arguments = parser.parse_args(command_line)
    arguments.build = arguments.build.resolve()
    if arguments.limit >= arguments.ram:
        parser.error("--limit must be less than --ram")
    return arguments
