#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""README.md and docs/ speak of files that are there: every relative link, every path in backquotes.

A code span is taken for a path if it starts with a top folder. `hostd/base/*` and
`hostd/os/page.{h,cc}` are understood, `hostd/<room>/` is left alone.
"""

import glob
import os
import re
import tempfile

from source import ROOT, Tap, read, walk

PATH_STARTS = ("hostd/", "qemu-plugin/", "guest-agent/", "tests/", "docs/")

CODE_BLOCK = re.compile(r"^( *)(```|~~~).*?^\1?\2[^\n]*$", re.M | re.S)
CODE_SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
LINK = re.compile(r"\[[^\]\n]*\]\(\s*<?([^)>\s]+)")


def without_lines(match):
    return re.sub(r"[^\n]", " ", match.group())


def exists(root, path):
    braces = re.search(r"\{([^{}]*)\}", path)
    if braces:
        return all(exists(root, path.replace(braces.group(), part))
                   for part in braces.group(1).split(","))
    return bool(glob.glob(os.path.join(root, path)))


def paths_in_spans(text):
    for match in CODE_SPAN.finditer(text):
        path = re.split(r"[\s:#]", match.group(1), maxsplit=1)[0].rstrip(".,;")
        if path.startswith(PATH_STARTS) and not re.search(r"[<>$]|\bROOM\b|\bNAME\b", path):
            yield match.start(), path


def paths_in_links(text, page):
    # What stands in backquotes is an example of a link, not a link.
    for match in LINK.finditer(CODE_SPAN.sub(without_lines, text)):
        target = match.group(1).split("#")[0]
        if target and not re.match(r"[a-z][a-z0-9+.-]*:", target):
            yield match.start(), os.path.normpath(os.path.join(os.path.dirname(page), target))


def check_page(root, page):
    text = CODE_BLOCK.sub(without_lines, read(root, page))
    return [f"{page}:{text.count(chr(10), 0, at) + 1}: there is no {path}: correct it, or drop it"
            for at, path in sorted([*paths_in_spans(text), *paths_in_links(text, page)])
            if not exists(root, path)]


def check_tree(root):
    pages = [path for path in walk(root, "docs") if path.endswith(".md")]
    if os.path.exists(os.path.join(root, "README.md")):
        pages.insert(0, "README.md")
    return [problem for page in pages for problem in check_page(root, page)]


SAMPLES = [  # (a line of docs/a.md, the path that is missing or None)
    ("see `hostd/base/log.h` and `hostd/base/`", None),
    ("see `hostd/base/log.h:12`, `tests/a.py --for 3`", None),
    ("see `hostd/base/*`, `hostd/base/log.{h,cc}`, `hostd/<room>/x.h`", None),
    ("see `hostd/base/gone.h`", "hostd/base/gone.h"),
    ("see `hostd/base/log.{h,gone}`", "hostd/base/log.{h,gone}"),
    ("see `docs/gone.md`.", "docs/gone.md"),
    ("see `/dev/gone` and `gone/a.h`", None),
    ("[a](b.md), [a](../README.md#top), [a](#below), [a](https://a.org/b)", None),
    ("[a](gone.md#top)", "docs/gone.md"),
    ("write `[a](gone.md)` for a link", None),
    ("```\n[a](gone.md) `docs/gone.md`\n```", None),
]


def self_test(tap):
    with tempfile.TemporaryDirectory() as root:
        for path in ("hostd/base/log.h", "hostd/base/log.cc", "tests/a.py", "docs/b.md",
                     "README.md"):
            os.makedirs(os.path.join(root, os.path.dirname(path)), exist_ok=True)
            with open(os.path.join(root, path), "w", encoding="utf-8"):
                pass
        for text, missing in SAMPLES:
            with open(os.path.join(root, "docs/a.md"), "w", encoding="utf-8") as file:
                file.write(text + "\n")
            problems = check_tree(root)
            name = " ".join(text.replace("#", "").split())
            tap.expect(name, len(problems) == 1 and f"no {missing}:" in problems[0] if missing
                       else not problems)


def main():
    tap = Tap()
    self_test(tap)
    tap.point("README.md and docs/ name files that are there", check_tree(ROOT))
    tap.end()


if __name__ == "__main__":
    main()
