#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The shape of the sources: length, layout, words, calls we do not make, tests that are missing.

A place that has a good reason says so in a comment on the same line or the one above it:
    // style-ok(RULE): reason      where RULE is sleep, new, using-namespace, word, or
                                   wait (see waits.py)
"""

import os
import re
import tempfile

from source import ROOT, Tap, read, strip_cpp, walk

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70
COLUMNS_MAX = 100

LONG_FILES = {}  # path: reason

SPDX = "SPDX-License-Identifier: MIT"
UNTESTED_FILE = "tests/style/untested.txt"

# Retired words (docs/GLOSSARY.md), looked for in identifiers, comments, messages and file names, as
# whole parts of snake_case and CamelCase names. The other retired ones (cache, entry, paused) have
# honest uses that a program cannot tell apart: cache=none, page cache, directory entry.
BANNED_WORDS = {
    r"evict(s|ed|ing|ion|ions)?": "swap out, swapped out",
    r"backends?": "tier, or what it is",
    r"managers?": "name what it does",
    r"helpers?": "name what it does",
    r"utils?": "name what it does",
}
# Names that others gave.
FOREIGN_NAMES = re.compile(
    r"memory[- ]backends?(-\w+)?|\bqemu-\w+-helper\b|virt-manager|\bimportlib\.util\b"
    r"|^\s*#\s*include\s+(<.*>|\"absl/.*\")", re.M)

SLEEP = re.compile(r"\b(sleep|usleep|nanosleep|clock_nanosleep|sleep_for|sleep_until)\s*\(")
RAW_NEW = re.compile(r"(?<!operator )\bnew\b\s*[\w:(\[]")
# With a private constructor there is no other way, and it has an owner.
OWNED_NEW = re.compile(r"(unique_ptr<[^;]*\(\s*)new\b")
RAW_DELETE = re.compile(r"(?<!operator )\bdelete\b\s*[\w:(\[*]")
USING_NAMESPACE = re.compile(r"\busing\s+namespace\b")
TODO = re.compile(r"\b(TODO|FIXME|XXX)\b(?!\(#\d+\))")
OK = re.compile(r"style-ok\(([\w-]+)\): \S")

CPP = (".cc", ".h", ".c")


def is_source(root, path):
    if path.endswith(CPP + (".py", ".sh", ".S")) or os.path.basename(path) == "meson.build":
        return True
    with open(os.path.join(root, path), "rb") as file:
        return file.read(2) == b"#!"


def lines_of(root, paths, stripped=False):
    """(path, line number, line, rules that the line is excused from)"""
    for path in paths:
        text = read(root, path)
        original = text.splitlines()
        shown = OWNED_NEW.sub(r"\1", strip_cpp(text)).splitlines() if stripped else original
        for index, line in enumerate(shown):
            excuses = OK.findall(" ".join(original[max(index - 1, 0):index + 1]))
            yield path, index + 1, line, excuses


def find(root, paths, pattern, rule, advice, stripped=True):
    return [f"{path}:{number}: {match.group().strip()}: {advice}"
            for path, number, line, excuses in lines_of(root, paths, stripped)
            if (match := pattern.search(line)) and rule not in excuses]


def check_licence(root, sources):
    def has_line(path):
        lines = read(root, path).splitlines() + ["", ""]
        return SPDX in lines[1 if lines[0].startswith("#!") else 0]
    return [f"{path}:1: the first line (the second after #!) must be: {SPDX}" for path in sources
            if not has_line(path)]


def check_pragma_once(root, cpp):
    return [f"{path}:1: add #pragma once" for path in cpp
            if path.endswith(".h") and "#pragma once" not in read(root, path)]


def check_file_lines(root, sources):
    problems = [f"{path}: no longer long, or gone: take it out of LONG_FILES in shape.py"
                for path in LONG_FILES if path not in sources
                or len(read(root, path).splitlines()) <= FILE_LINES_MAX]
    for path in sources:
        count = len(read(root, path).splitlines())
        if count > FILE_LINES_MAX and path not in LONG_FILES:
            problems.append(f"{path}: {count} lines, at most {FILE_LINES_MAX}: split it by noun")
    return problems


def check_columns(root, sources):
    return [f"{path}:{number}: {len(line)} columns, at most {COLUMNS_MAX}: break the line"
            for path, number, line, _ in lines_of(root, sources)
            if len(line) > COLUMNS_MAX and "://" not in line]


def functions(text):
    """(first line, last line) of each outermost function body in clang-formatted C++.

    A brace opens a function if a parenthesis stands between it and the last `;`, `{` or `}`, and no
    namespace, type or initializer begins there. What lies in a function belongs to it.
    """
    text = re.sub(r"^[ \t]*#(?:\\\n|[^\n])*", lambda m: re.sub(r"[^\n]", " ", m.group()),
                  strip_cpp(text), flags=re.M)
    stack, head, line = [], "", 1
    for char in text:
        if char == "\n":
            line += 1
        if char == "{":
            is_function = ("(" in head and not re.match(r"\s*(namespace|extern|enum)\b", head)
                           and not re.search(r"=\s*$", head) and "function" not in stack)
            is_type = re.search(r"\b(class|struct|union)\b[^()]*(\w+\([^()]*\)[^()]*)*$", head) \
                and not re.search(r"\)\s*(const|noexcept|override|final|\s)*$", head)
            stack.append("function" if is_function and not is_type else "other")
            if stack[-1] == "function":
                first = line
        elif char == "}" and stack:
            if stack.pop() == "function":
                yield first, line
        head = "" if char in ";{}" else head + char


def check_function_lines(root, cpp):
    return [f"{path}:{first}: a function of {last - first + 1} lines, at most {FUNCTION_LINES_MAX}:"
            " give a part of it a name" for path in cpp
            for first, last in functions(read(root, path))
            if last - first + 1 > FUNCTION_LINES_MAX]


def banned_words_in(text):
    parts = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", FOREIGN_NAMES.sub(" ", text))
    for part in parts:
        for pattern, advice in BANNED_WORDS.items():
            if re.fullmatch(pattern, part.lower()):
                yield part, advice


def check_words(root, sources):
    sources = [path for path in sources if not path.startswith("tests/style/")]
    problems = [f"{path}: file name with '{word}': say {advice}" for path in sources
                for word, advice in banned_words_in(path)]
    return problems + [f"{path}:{number}: '{word}' is a retired word: say {advice}"
                       for path, number, line, excuses in lines_of(root, sources)
                       if "word" not in excuses for word, advice in banned_words_in(line)]


def check_calls(root, sources, cpp):
    no_sleep = ("wait for what you wait for, with a deadline (a condition, poll, a test point); or "
                "say why on the line above: style-ok(sleep): reason")
    python = [path for path in sources if path.endswith(".py") and path.startswith("tests/")
              and not path.startswith("tests/style/")]
    ours = [path for path in cpp if path.startswith(("hostd/", "tests/"))]
    owned = "use std::make_unique or a member; or say why: style-ok(new): reason"
    return (find(root, ours, SLEEP, "sleep", no_sleep)
            + find(root, python, SLEEP, "sleep", no_sleep, stripped=False)
            + find(root, cpp, USING_NAMESPACE, "using-namespace", "name what you use")
            + find(root, cpp, RAW_NEW, "new", owned) + find(root, cpp, RAW_DELETE, "new", owned))


def check_todo(root, sources):
    sources = [path for path in sources if not path.startswith("tests/style/")]
    return find(root, sources, TODO, "", "name the issue, as in TODO(#12), or do it now",
                stripped=False)


def check_tests(root, cpp):
    problems, untested = [], {}
    for number, line in enumerate(read(root, UNTESTED_FILE).splitlines(), 1):
        path, _, reason = line.partition(":")
        if line.strip() and not line.startswith("#"):
            untested[path.strip()] = reason.strip()
            if not reason.strip():
                problems.append(f"{UNTESTED_FILE}:{number}: say why: `{path}: reason`")
    sources = [path for path in cpp if path.startswith("hostd/") and path.endswith(".cc")]
    tested = {path for path in sources if f"tests/{path[:-len('.cc')]}_test.cc" in cpp}
    problems += [f"{path}: write tests/{path[:-len('.cc')]}_test.cc, or add a line with the reason "
                 f"to {UNTESTED_FILE}" for path in sources if path not in tested | set(untested)]
    problems += [f"{UNTESTED_FILE}: {path} is gone or has a test now: remove the line"
                 for path in untested if path not in sources or path in tested]
    return problems


def check_tree(root):
    sources = [path for path in walk(root) if is_source(root, path)]
    cpp = [path for path in sources if path.endswith(CPP)]
    return {
        "the licence comes first": check_licence(root, sources),
        "headers have #pragma once": check_pragma_once(root, cpp),
        f"files have {FILE_LINES_MAX} lines at most": check_file_lines(root, sources),
        f"functions have {FUNCTION_LINES_MAX} lines at most": check_function_lines(root, cpp),
        f"lines have {COLUMNS_MAX} columns at most": check_columns(root, sources),
        "no retired words": check_words(root, sources),
        "no sleep, no using namespace, no raw new": check_calls(root, sources, cpp),
        "each TODO has an issue": check_todo(root, sources),
        "every source under hostd has a test": check_tests(root, cpp),
    }


# ---- Self-test: one file at a time, right and wrong ----------------------------------------------

def numbered(count, line="  f();\n"):
    return line * count


SAMPLES = [  # (file, text after the licence, the rule that finds something, or None)
    ("hostd/a.h", "#pragma once\n", None),
    ("hostd/a.h", "int a;\n", "headers have"),
    ("hostd/a.h", "#pragma once\n" + numbered(499, "\n"), "files have"),
    ("hostd/a.cc", "void A() {\n" + numbered(68) + "}\n", None),
    ("hostd/a.cc", "void A() {\n" + numbered(69) + "}\n", "functions have"),
    ("hostd/a.cc", "class A : public B {\n  int a() const {\n" + numbered(69) + "  }\n};\n",
     "functions have"),
    ("hostd/a.cc", "A::A(int b)\n    : b_(b) {\n" + numbered(69) + "}\n", "functions have"),
    ("hostd/a.cc", "struct A B(C c) {\n" + numbered(69) + "}\n", "functions have"),
    ("hostd/a.cc", "TEST(A, B) {\n  if (a) {\n" + numbered(69) + "  }\n}\n", "functions have"),
    ("hostd/a.cc", "namespace {\nstruct LOCK(A) B {\n" + numbered(90, "  int b();\n") + "};\n}\n",
     None),
    ("hostd/a.cc", "const T t[] = {\n" + numbered(90, '  {"}", f(1)},\n') + "};\n", None),
    ("hostd/a.cc", "// " + "x" * 98 + "\n", "lines have"),
    ("hostd/a.cc", 'Run("-object", "memory-backend-memfd");\n', None),
    ("hostd/a.cc", "int EvictPage();\n", "no retired words"),
    ("hostd/a.cc", "// pages are evicted\n", "no retired words"),
    ("hostd/a.cc", "#include <utility>\n", None),
    ("hostd/pool_manager.h", "#pragma once\n", "no retired words"),
    ("hostd/a.cc", "usleep(3);\n", "no sleep"),
    ("tests/a.py", "time.sleep(3)\n", "no sleep"),
    ("tests/a.py", "# style-ok(sleep): polls, with a deadline\ntime.sleep(3)\n", None),
    ("hostd/a.cc", "// do not sleep(3) here; no new Thing either\n", None),
    ("hostd/a.cc", "using namespace std;\n", "no sleep"),
    ("hostd/a.cc", "A* a = new A;\n", "no sleep"),
    ("hostd/a.cc", "return std::unique_ptr<A>(\n    new A(b));\n", None),
    ("hostd/a.cc", "delete a;\n", "no sleep"),
    ("hostd/a.cc", "A(const A&) = delete;\n", None),
    ("hostd/a.cc", "// style-ok(new): never destroyed\nA* a = new A;\n", None),
    ("hostd/a.cc", "// TODO: more\n", "each TODO"),
    ("hostd/a.cc", "// TODO(#12): more\n", None),
    ("hostd/b.cc", "", "every source under hostd"),
    ("run", "echo\n", None),
]


def problems_of(path, text):
    comment = "// " if path.endswith((".cc", ".h")) else "#!/bin/sh\n# "
    files = {path: f"{comment}{SPDX}\n{text}", "hostd/a.cc": f"// {SPDX}\n",
             "tests/hostd/a_test.cc": f"// {SPDX}\n", UNTESTED_FILE: "# why\n"}
    files[path] = f"{comment}{SPDX}\n{text}"
    with tempfile.TemporaryDirectory() as root:
        for name, content in files.items():
            os.makedirs(os.path.join(root, os.path.dirname(name)), exist_ok=True)
            with open(os.path.join(root, name), "w", encoding="utf-8") as file:
                file.write(content)
        return {rule for rule, problems in check_tree(root).items() if problems}


def self_test(tap):
    for path, text, expected in SAMPLES:
        found = problems_of(path, text)
        first = " ".join(text.replace("#", "").split())[:40]
        tap.expect(f"{path}: {first or 'empty'}: {expected or 'nothing to find'}",
                   len(found) == 1 and found.pop().startswith(expected) if expected else not found)


def main():
    tap = Tap()
    self_test(tap)
    for rule, problems in check_tree(ROOT).items():
        tap.point(rule.replace("#", ""), problems)
    tap.end()


if __name__ == "__main__":
    main()
