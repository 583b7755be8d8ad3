#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Prints what the tests of one suite need built, as ninja targets of a build folder.

usage: suite_programs.py BUILD_DIR SUITE
"""

import json
import os
import subprocess
import sys


def introspect(what, build_dir):
    return json.loads(subprocess.check_output(["meson", "introspect", what, build_dir]))


def main():
    build_dir, suite = sys.argv[1:]
    needed = {target for test in introspect("--tests", build_dir) for target in test["depends"]
              if any(name.split(":")[-1] == suite for name in test["suite"])}
    for target in introspect("--targets", build_dir):
        if target["id"] in needed:
            for path in target["filename"]:
                print(os.path.relpath(path, os.path.realpath(build_dir)))


if __name__ == "__main__":
    main()
