#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Who may include whom. The table in docs/ARCHITECTURE.md is the rule; this test reads it there.

Under the heading `## Rooms, and who may use whom`, a table with the columns `room` and `may use`
(others are for people). A room is a folder with all below it, or one file. What it may use is
rooms, single headers, or `everything`, each in backquotes. Itself it may always use.
"""

import os
import re
import tempfile

from source import CPP_FOLDERS, ROOT, Tap, cpp_files, read, strip_cpp

TABLE_FILE = "docs/ARCHITECTURE.md"
TABLE_HEADING = "## Rooms, and who may use whom"

# Headers that only some rooms may include: (header, rooms, why).
RESTRICTED_HEADERS = [
    (r"libvirt/", ["hostd/peers/libvirt"], "libvirt is one kind of peer"),
    (r"linux/userfaultfd\.h$", ["hostd/os", "qemu-plugin"], "hostd/os wraps userfaultfd"),
    (r"sys/ioctl\.h$", ["hostd/os", "qemu-plugin"], "hostd/os wraps ioctls"),
    (r"liburing\.h$", ["hostd/os"], "hostd/os wraps io_uring"),
    (r"(lz4|zstd)\w*\.h$", ["hostd/tiers"], "compression is the pool's business"),
    (r"microhttpd\.h$", ["hostd/control", "hostd/web"], "only they speak HTTP to clients"),
    (r"curl/", ["hostd/ctl"], "only ebbctl is an HTTP client"),
]
# Rooms that may include nothing from outside the project but these.
ONLY_HEADERS = {"hostd/wire": r"(cstdint|cstddef)$"}
# Rooms that link libc only.
NO_ABSEIL = ["hostd/wire", "qemu-plugin"]

# errno becomes a domain word once, in hostd/os; elsewhere in hostd nobody looks at it.
ERRNO_ROOMS = {
    "hostd/os": "this is where",
    "hostd/base": "hostd/os itself rests on it",
    "hostd/ctl": "a program of its own that links no hostd/os; its user wants the system's words",
}
# Files with their reason, when there is a good one.
ERRNO_FILES = {}

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)
ERRNO = re.compile(r"\b(errno|strerror\w*|perror|ErrnoToStatus\w*|std::errc|E(?:AGAIN|EXIST|INTR|"
                   r"INVAL|NOENT|NOMEM|NOSPC|PERM|SRCH|BADF|FAULT|IO|ACCES|PIPE|CONNRESET))\b")


def within(path, room):
    return path == room or path.startswith(room + "/")


def innermost(path, rooms):
    return max((room for room in rooms if within(path, room)), key=len, default=None)


def parse_table(text):
    """{room: [may use...]}, or None without a table."""
    _, heading, rest = text.partition(TABLE_HEADING + "\n")
    section = re.split(r"^## ", rest, flags=re.M)[0]
    lines = [line.strip() for line in section.splitlines() if line.strip().startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    if not heading or len(rows) < 3 or not {"room", "may use"} <= set(rows[0]):
        return None
    room_column, use_column = rows[0].index("room"), rows[0].index("may use")
    return {re.findall(r"`([^`]+)`", row[room_column])[0].rstrip("/"):
            [use.rstrip("/") for use in re.findall(r"`([^`]+)`", row[use_column])]
            for row in rows[2:]}


def check_table(rooms):
    return [f"{TABLE_FILE}: room {room} may use {use}, which is no room and no header in one: "
            "correct the name" for room, uses in rooms.items() for use in uses
            if use != "everything" and use not in rooms
            and not (use.endswith(".h") and innermost(use, rooms))]


def check_known(root, rooms):
    return [f"{path}: its folder is in no room: add the room, and what it may use, to the table "
            f"in {TABLE_FILE}" for path in cpp_files(root, *CPP_FOLDERS)
            if not innermost(path, rooms)]


def includes(root, path):
    text = strip_cpp(read(root, path), strings=False)
    for match in INCLUDE.finditer(text):
        yield text.count("\n", 0, match.start()) + 1, match.group(1), match.group(2)


def is_ours(header):
    return header.split("/")[0] in CPP_FOLDERS


def check_rooms(root, rooms):
    problems = []
    for path in cpp_files(root, *CPP_FOLDERS):
        room = innermost(path, rooms)
        if not room or "everything" in rooms[room]:
            continue
        for line, _, header in includes(root, path):
            target = innermost(header, rooms)
            if not is_ours(header) or target == room or header in rooms[room]:
                continue
            if not target or target not in rooms[room]:
                may_use = ", ".join(rooms[room]) or "nothing"
                problems.append(f"{path}:{line}: {room} may not use {header}: it may use {may_use}."
                                " Move the code, or pass in what it needs")
    return problems


def check_paths(root):
    def is_relative(path, header):
        beside = os.path.join(root, os.path.dirname(path), header)
        return "/" not in header or header.startswith(".") or os.path.exists(beside)
    return [f'{path}:{line}: "{header}": write the path from the top of the tree, as in '
            '"hostd/base/log.h"; system headers take <>' for path in cpp_files(root, *CPP_FOLDERS)
            for line, quote, header in includes(root, path)
            if quote == '"' and not is_ours(header) and is_relative(path, header)]


def check_libraries(root):
    problems = []
    for path in cpp_files(root, *CPP_FOLDERS):
        for line, _, header in includes(root, path):
            where = f"{path}:{line}: {header}"
            if is_ours(header):
                continue
            for pattern, allowed, why in RESTRICTED_HEADERS:
                if re.match(pattern, header) and not innermost(path, allowed):
                    problems.append(f"{where}: only {' and '.join(allowed)} may include it ({why}):"
                                    " use what they offer")
            for room, pattern in ONLY_HEADERS.items():
                if within(path, room) and not re.match(pattern, header):
                    problems.append(f"{where}: {room} may include <cstdint> and <cstddef> only")
            if header.startswith("absl/") and innermost(path, NO_ABSEIL):
                problems.append(f"{where}: this room links libc only, so no Abseil here")
    return problems


def check_errno(root):
    problems = []
    for path in cpp_files(root, "hostd"):
        if innermost(path, ERRNO_ROOMS) or path in ERRNO_FILES:
            continue
        for number, line in enumerate(strip_cpp(read(root, path)).splitlines(), 1):
            word = ERRNO.search(line)
            if word:
                problems.append(f"{path}:{number}: {word.group()}: errno becomes a word once, in "
                                "hostd/os: wrap the call there, or name this file with a reason in "
                                "ERRNO_FILES of tests/style/rooms.py")
    return problems


def check_tree(root):
    """All problems, by rule."""
    try:
        rooms = parse_table(read(root, TABLE_FILE))
    except FileNotFoundError:
        rooms = None
    results = {"the table is there": [] if rooms else [
        f"{TABLE_FILE}: write the table of rooms (columns `room` and `may use`) under the heading "
        f"'{TABLE_HEADING}'"]}
    if rooms:
        results["the table names rooms"] = check_table(rooms)
        results["every source is in a room"] = check_known(root, rooms)
        results["rooms use what they may"] = check_rooms(root, rooms)
    results["includes have full paths"] = check_paths(root)
    results["libraries stay in their rooms"] = check_libraries(root)
    results["errno stays in hostd/os"] = check_errno(root)
    return results


# ---- Self-test: a made-up tree, sound at first and then with one mistake at a time ---------------

SOUND_TREE = {
    TABLE_FILE: f"""# A
{TABLE_HEADING}

| room | holds | may use |
|---|---|---|
| `hostd/base` | | |
| `hostd/os` | | `hostd/base` |
| `hostd/wire` | | |
| `hostd/page` | ids | `hostd/base` |
| `hostd/tiers` | | `hostd/base`, `hostd/page/ids.h` |
| `hostd/main.cc` | | `everything` |

## Next
| room | may use |
|---|---|
| `hostd/other` | `hostd/os` |
""",
    "hostd/base/a.h": '#include <vector>\n#include "absl/status/status.h"\n#include "x/y.hpp"\n',
    "hostd/os/a.cc": '#include <sys/ioctl.h>\n#include "hostd/base/a.h"\nint e = errno;\n',
    "hostd/wire/a.h": "#include <cstdint>\n",
    "hostd/page/ids.h": '// #include "hostd/os/a.h"\nconst char* errno_text = "errno"; // errno\n',
    "hostd/tiers/pool/a.cc": '#include "hostd/page/ids.h"\n#include "hostd/tiers/tier.h"\n',
    "hostd/main.cc": '#include "hostd/os/a.h"\n#include "hostd/page/word.h"\n',
}

MISTAKES = [  # (what, the rule that must find it, file, its content or None to remove it)
    ("a missing table file", "the table is there", TABLE_FILE, None),
    ("a page without the table", "the table is there", TABLE_FILE, TABLE_HEADING + "\nsoon\n"),
    ("a misspelt room in the table", "the table names rooms", TABLE_FILE,
     SOUND_TREE[TABLE_FILE].replace("`hostd/page/ids.h`", "`hostd/pages`")),
    ("a room that is not in the table", "every source is in a room", "hostd/other/a.cc", ""),
    ("a source beside the rooms", "every source is in a room", "hostd/stray.cc", ""),
    ("a forbidden include", "rooms use what they may", "hostd/page/a.h",
     '#include "hostd/os/a.h"\n'),
    ("a header that was not the one listed", "rooms use what they may", "hostd/tiers/a.h",
     '#include "hostd/page/word.h"\n'),
    ("a forbidden include in <>", "rooms use what they may", "hostd/base/b.h",
     "# include <hostd/page/ids.h>\n"),
    ("an include of a room that is not there", "rooms use what they may", "hostd/os/b.h",
     '#include "hostd/other/a.h"\n'),
    ("an include without its folder", "includes have full paths", "hostd/os/b.cc",
     '#include "a.h"\n'),
    ("an include relative to its folder", "includes have full paths", "hostd/tiers/b.cc",
     '#include "pool/a.cc"\n'),
    ("more than <cstdint> in wire", "libraries stay in their rooms", "hostd/wire/b.h",
     "#include <string>\n"),
    ("libvirt outside its room", "libraries stay in their rooms", "hostd/tiers/b.cc",
     "#include <libvirt/libvirt.h>\n"),
    ("userfaultfd outside os", "libraries stay in their rooms", "hostd/page/b.cc",
     "#include <linux/userfaultfd.h>\n"),
    ("Abseil in the library", "libraries stay in their rooms", "qemu-plugin/a.cc",
     '#include "absl/status/status.h"\n'),
    ("errno outside os", "errno stays in hostd/os", "hostd/page/c.cc", "if (errno == 1) f();\n"),
    ("an errno value outside os", "errno stays in hostd/os", "hostd/tiers/c.cc",
     "return e == EAGAIN;\n"),
]


def check_made_up_tree(change):
    with tempfile.TemporaryDirectory() as root:
        for path, text in {**SOUND_TREE, **change}.items():
            if text is not None:
                os.makedirs(os.path.join(root, os.path.dirname(path)), exist_ok=True)
                with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                    file.write(text)
        return check_tree(root)


def self_test(tap):
    tap.expect("a sound tree passes", not any(check_made_up_tree({}).values()))
    for what, rule, path, text in MISTAKES:
        tap.expect(f"{what} is found", check_made_up_tree({path: text}).get(rule))


def main():
    tap = Tap()
    self_test(tap)
    for rule, problems in check_tree(ROOT).items():
        tap.point(rule, problems)
    tap.end()


if __name__ == "__main__":
    main()
