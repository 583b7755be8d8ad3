# SPDX-License-Identifier: MIT
"""./bench's command line."""

import argparse
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
GROUPS = ("engine",)


@dataclass(frozen=True)
class Options:
    groups: tuple[str, ...]
    json: Path | None
    build: Path
    build_given: bool
    seed: int
    trial: bool
    halt_at: str | None
    parse_only: bool


def _group(text: str) -> str:
    if text not in GROUPS:
        raise argparse.ArgumentTypeError(
            f"there is no group '{text}': there is {', '.join(GROUPS)}")
    return text


def _new_file(text: str) -> Path:
    file = Path(text).resolve()
    if file.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is a folder")
    if not file.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {file.parent}")
    return file


def parse(command_line: list[str] | None = None) -> Options:
    parser = argparse.ArgumentParser(
        prog="./bench", allow_abbrev=False,
        description="Installs what it needs, builds Ebb, and measures it beside what the kernel "
        "has of the same kind, on this machine and with the same data. Leaves nothing behind but "
        "what it has built. Without root, what the kernel has is not measured.",
        epilog="What the figures mean: docs/BENCH.md.")
    parser.add_argument("-y", action="store_true", help="install packages without asking")
    parser.add_argument("--only", metavar="GROUP", type=_group, action="append",
                        help=f"only these figures, of: {', '.join(GROUPS)}")
    parser.add_argument("--json", metavar="FILE", type=_new_file,
                        help="write the figures to FILE, too")
    parser.add_argument("--seed", metavar="N", type=int, default=1,
                        help="of the data and of all choices (default: %(default)s)")
    # For tests, and for ./bench itself.
    parser.add_argument("--build", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--trial", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--halt-at", metavar="STEP", help=argparse.SUPPRESS)
    parser.add_argument("--parse-only", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args(command_line)
    if arguments.seed < 1:
        parser.error("argument --seed: must be at least 1")
    build = arguments.build or REPOSITORY / "build"
    return Options(tuple(dict.fromkeys(arguments.only or GROUPS)), arguments.json, build.resolve(),
                   arguments.build is not None, arguments.seed, arguments.trial,
                   arguments.halt_at, arguments.parse_only)
