#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Headers can be included alone.

Where NAME.h has a NAME.cc, the .cc includes it first, and the build proves it. The other headers
are compiled alone here, with the include folders and macros of the build.

usage: headers.py COMPILE_COMMANDS_JSON
"""

import concurrent.futures
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile

from source import CPP_FOLDERS, ROOT, Tap, cpp_files, read, strip_cpp

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*[<"]([^>"]+)[>"]', re.M)


def check_own_header_first(root, headers):
    problems = []
    for header in headers:
        source = header[:-len(".h")] + ".cc"
        if not os.path.exists(os.path.join(root, source)):
            continue
        first = INCLUDE.search(strip_cpp(read(root, source), strings=False))
        if not first or first.group(1) not in (header, os.path.basename(header)):
            problems.append(f'{source}: its first #include must be "{header}": that is how the '
                            "build shows that the header can be included alone")
    return problems


def build_flags(compile_commands):
    """Every -I, -isystem, -D and -std of the build, once."""
    flags = {}
    for command in compile_commands:
        words = shlex.split(command["command"])
        for word, following in zip(words, words[1:]):
            if word == "-isystem":
                flags[(word, following)] = True
            elif re.match(r"-(I|isystem|D|std=).", word):
                flags[(word,)] = True
    return [word for flag in flags for word in flag]


def compile_alone(root, folder, flags, header):
    command = ["g++", *flags, f"-I{root}", "-w", "-fsyntax-only", "-x", "c++",
               os.path.join(root, header)]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60,
                            check=False)
    if result.returncode == 0:
        return []
    errors = [line for line in result.stderr.splitlines() if "error:" in line][:3]
    return [f"{header}: cannot be included alone: add the #include it lacks"] + errors


def check_alone(root, folder, flags, headers):
    alone = [header for header in headers
             if not os.path.exists(os.path.join(root, header[:-len(".h")] + ".cc"))]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda header: compile_alone(root, folder, flags, header), alone)
        return [problem for problems in results for problem in problems]


def self_test(tap):
    files = {"a/a.h": "", "a/a.cc": '#include <vector>\n#include "a/a.h"\n', "a/b.h": "",
             "a/b.cc": '// #include <vector>\n#include "a/b.h"\n', "a/c.h": "std::string c();\n",
             "a/d.h": "#include <string>\nstd::string d();\n"}
    with tempfile.TemporaryDirectory() as root:
        os.mkdir(os.path.join(root, "a"))
        for path, text in files.items():
            with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                file.write(text)
        order = check_own_header_first(root, ["a/a.h", "a/b.h", "a/c.h"])
        alone = check_alone(root, root, ["-std=c++20"], ["a/a.h", "a/c.h", "a/d.h"])
    tap.expect("a header that is not the first is found", [p[:6] for p in order] == ["a/a.cc"])
    tap.expect("a header that lacks an include is found", alone and alone[0].startswith("a/c.h"))
    tap.expect("a sound header passes", not [problem for problem in alone if "a/d.h" in problem])


def main():
    tap = Tap()
    self_test(tap)
    headers = [path for path in cpp_files(ROOT, *CPP_FOLDERS, "tests") if path.endswith(".h")]
    with open(sys.argv[1], encoding="utf-8") as file:
        compile_commands = json.load(file)
    tap.point("sources include their own header first", check_own_header_first(ROOT, headers))
    tap.point("headers without a source compile alone",
              check_alone(ROOT, os.path.dirname(sys.argv[1]), build_flags(compile_commands),
                          headers))
    tap.end()


if __name__ == "__main__":
    main()
