#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Measures Ebb beside what others reach on the same machine with the same data.

./bench installs what this needs and starts it.
"""

import json
import sys

import command_line
import engine
from building import build
from command_line import Options
from figure import Figure, as_json, as_table
from file_pages import NoFilesError
from leftovers import Leftovers, Stopped, obey_first_ending_signal
from process import ignore_ending_signals
from progress import Progress

# Per group: what it needs built, and what measures it.
GROUPS = {"engine": (engine.PROGRAMS, engine.measure)}

EXPLAINED = (NoFilesError, OSError)


def main() -> int:
    options = command_line.parse()
    if options.parse_only:
        return 0
    leftovers = Leftovers()
    progress = Progress(options.halt_at)
    try:
        # However late the signal comes, it comes before the last `finally`, and only once.
        try:
            obey_first_ending_signal()
            run(options, leftovers, progress)
        finally:
            ignore_ending_signals()
    except Stopped as stopped:
        progress.end()
        print(f"bench: stopped by {stopped.name}", file=sys.stderr)
        return stopped.exit_status
    except EXPLAINED as error:
        progress.end()
        print(f"bench: {error}", file=sys.stderr)
        return 1
    finally:
        leftovers.remove()
    return 0


def run(options: Options, leftovers: Leftovers, progress: Progress) -> None:
    figures: list[Figure] = []
    notes: list[str] = []
    if not options.build_given:
        progress.step(f"building Ebb in {options.build}")
        build(options.build, tuple(program for group in options.groups
                                   for program in GROUPS[group][0]))
    for group in options.groups:
        measured, said = GROUPS[group][1](options, leftovers, progress)
        figures += measured
        notes += said
    progress.end()
    print(as_table(figures))
    print("", *notes, sep="\n")
    if options.json:
        options.json.write_text(json.dumps(as_json(figures), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
