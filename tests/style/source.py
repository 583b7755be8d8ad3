# SPDX-License-Identifier: MIT
"""What the style tests share: finding sources, C++ without comments and strings, TAP output."""

import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CPP_FOLDERS = ("hostd", "qemu-plugin", "guest-agent")

_TOKEN = re.compile(
    r"""//(?:\\\n|[^\n])*                                    # comment to the end of the line
      | /\*.*?\*/                                            # block comment
      | (?:\b(?:u8|[uUL]))?R"(?P<tag>[^()\s\\"]{0,16})\(.*?\)(?P=tag)"  # raw string
      | "(?:\\.|[^"\\\n])*"                                  # string
      | (?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'                  # character, not a digit separator
    """, re.S | re.X)


def strip_cpp(text, comments=True, strings=True):
    """The text with comments and/or strings blanked out; every line keeps its number."""
    def blank(match):
        is_comment = match.group().startswith("/")
        if not (comments if is_comment else strings):
            return match.group()
        return re.sub(r"[^\n]", " ", match.group())
    return _TOKEN.sub(blank, text)


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8", errors="replace") as file:
        return file.read()


def walk(root, *folders):
    """Files below the folders (default: all), as sorted paths from root; no build output."""
    found = []
    for top in folders or ("",):
        for folder, subfolders, names in os.walk(os.path.join(root, top)):
            in_root = os.path.samefile(folder, root)
            subfolders[:] = [name for name in subfolders if name not in (".git", "__pycache__")
                             and not (in_root and name.startswith("build"))]
            found += [os.path.relpath(os.path.join(folder, name), root) for name in names]
    return sorted(found)


def cpp_files(root, *folders):
    return [path for path in walk(root, *folders) if path.endswith((".cc", ".h"))]


class Tap:
    """One test point per rule. A rule's problems are "FILE:LINE: what is wrong: what to do"; they
    go to stderr, which is what meson shows of a failed test."""

    def __init__(self):
        self.count = 0
        self.failed = False

    def point(self, name, problems):
        self.count += 1
        for problem in problems:
            print(f"# {problem}", file=sys.stderr, flush=True)
        print(f"{'not ok' if problems else 'ok'} {self.count} - {name}", flush=True)
        self.failed |= bool(problems)

    def expect(self, name, condition):
        """A self-test: the checker finds, or leaves alone, what it should."""
        self.point(f"self-test: {name}", [] if condition else [f"self-test failed: {name}"])

    def end(self):
        print(f"1..{self.count}")
        sys.exit(1 if self.failed else 0)
