#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""mutations_test.py BUILD [NAME...]: puts each wrong order of tests/mutations/*.patch into a copy
of the daemon's page protocol, and the explorer must find it. The first line of a patch says what is
wrong; the patch changes .cc files only, so that everything else is used as it was built."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tap import Tap

SOURCE = Path(__file__).resolve().parents[2]
PATCHES = Path(__file__).resolve().parent
EXPLORER = "tests/explorer/explorer_test"
BUILD_S = 120
RUN_S = 120
WALK_S = "8"
SEED = "1"


class Failed(Exception):
    """The mutation could not be tried."""


@dataclass(frozen=True)
class Result:
    name: str
    title: str
    caught_by: str  # empty: by nothing
    message: str
    seconds: float


def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False,
                          **options)  # type: ignore[call-overload]


class Builder:
    """Compiles changed sources and links them in front of what is built already."""

    def __init__(self, build: Path) -> None:
        self.build = build
        commands = json.loads((build / "compile_commands.json").read_text())
        self.compile = {os.path.normpath(os.path.join(entry["directory"], entry["file"])):
                        shlex.split(entry["command"])
                        for entry in commands if "/libpage_protocol.a.p/" in entry["output"]}
        lines = run(["ninja", "-C", str(build), "-t", "commands", EXPLORER]).stdout.splitlines()
        self.link = shlex.split(next(line for line in lines if f"-o {EXPLORER} " in line))

    def make(self, folder: Path, changed: list[str]) -> Path:
        objects = []
        for name in changed:
            command = list(self.compile[str(SOURCE / name)])
            objects.append(str(folder / (name.replace("/", "_") + ".o")))
            command[command.index("-o") + 1] = objects[-1]
            command[command.index("-c") + 1] = str(folder / name)
            self.do([part for part in command if part not in ("-Werror", "-g")])
        program = folder / "explorer"
        link = list(self.link)
        at = link.index("-o")
        link[at + 1:at + 2] = [str(program), *objects]
        self.do(link)
        return program

    def do(self, command: list[str]) -> None:
        result = run(command, cwd=self.build, timeout=BUILD_S)
        if result.returncode != 0:
            raise Failed(result.stderr)


def explore(program: Path) -> tuple[str, str]:
    """What failed, and what it said; both empty where nothing did."""
    environment = os.environ | {"EBB_EXPLORER_SECONDS": WALK_S, "EBB_EXPLORER_SEED": SEED,
                                "GTEST_FAIL_FAST": "1"}
    try:
        result = run([str(program)], env=environment, timeout=RUN_S)
    except subprocess.TimeoutExpired:
        raise Failed(f"the explorer did not end within {RUN_S} s") from None
    if result.returncode == 0:
        return "", ""
    # A daemon that ended itself took the test with it.
    tests = re.findall(r"^\[  FAILED  \] (?:\w+/)?\w+\.(?:\w+/)?(\w+)",
                       result.stdout, re.M) or re.findall(
                           r"^\[ RUN      \] (?:\w+/)?\w+\.(?:\w+/)?(\w+)",
                           result.stdout, re.M)[-1:]
    said = re.search(r"Which is: \"(.*?)(?:\\n|\")", result.stdout)
    ended = re.search(r"(?:check failed|CHECK).*", result.stderr)
    message = said or ended
    if not tests or message is None:
        raise Failed(f"the explorer failed without saying why: {result.stdout}{result.stderr}")
    return tests[0], message.group(1) if said else message.group(0)


def try_patch(builder: Builder, patch: Path) -> Result:
    began = time.monotonic()
    text = patch.read_text()
    changed = re.findall(r"^\+\+\+ b/(.*\.cc)$", text, re.M)
    if not changed or len(changed) != len(re.findall(r"^\+\+\+ ", text, re.M)):
        raise Failed("it must change .cc files, and nothing else")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for source in changed:
            (folder / source).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(SOURCE / source, folder / source)
        applied = run(["patch", "--strip=1", "--fuzz=0", "--batch", "--input", str(patch)],
                      cwd=folder)
        if applied.returncode != 0:
            raise Failed("it does not apply any more: " + applied.stdout)
        caught_by, message = explore(builder.make(folder, changed))
    return Result(patch.stem, text.splitlines()[0], caught_by, message,
                  time.monotonic() - began)


def main(tap: Tap, build: Path, names: list[str]) -> None:
    builder = Builder(build)
    patches = [patch for patch in sorted(PATCHES.glob("*.patch"))
               if not names or patch.stem in names]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        tried = [(patch, pool.submit(try_patch, builder, patch)) for patch in patches]
        for patch, result in tried:
            try:
                one = result.result()
            except Failed as failure:
                tap.note(str(failure)[-3000:])
                tap.check(False, f"{patch.stem}: could not be tried")
                continue
            tap.note(f"{one.name:32} {one.caught_by:28} {one.seconds:5.1f} s  {one.message}")
            tap.check(bool(one.caught_by), f"caught: {one.title}")
    tap.check(bool(patches), "there are mutations")


if __name__ == "__main__":
    TAP = Tap()
    main(TAP, Path(sys.argv[1]).resolve(), sys.argv[2:])
    sys.exit(TAP.finish())
