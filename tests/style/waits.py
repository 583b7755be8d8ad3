#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every call of the daemon that can wait says so to the wait checks (docs/LOCKING.md).

A line with such a call has `MayWait("for what");` on it or on one of the lines above it, or one of
the two lines above says why it never waits, or is meant to:
    // style-ok(wait): reason
Locks are taken through hostd/base/mutex.h, which the checks see, and each has a name.
"""

import re
import tempfile
from pathlib import Path

from source import ROOT, Tap, cpp_files, read, strip_cpp

LINES_ABOVE = 4

# ebbctl is a program of its own and owns no page.
EXEMPT = ("hostd/ctl/",)
LOCKS_FILE = "hostd/base/mutex.h"

# Functions of libc that can wait for another thread, another process, a disk or memory. Ioctls and
# process_madvise are not here: they are the operations on pages that owners are there for.
SYSTEM_CALLS = [
    "poll", "ppoll", "select", "pselect", "epoll_wait", "epoll_pwait", "read", "pread", "readv",
    "preadv", "write", "pwrite", "writev", "pwritev", "recv", "recvfrom", "recvmsg", "send",
    "sendto", "sendmsg", "accept", "accept4", "connect", "open", "openat", "fsync", "fdatasync",
    "sync_file_range", "fallocate", "madvise", "waitpid", "waitid", "wait4", "flock", "lockf",
    "sigwait", "sigwaitinfo", "sigtimedwait", "pause", "sleep", "usleep", "nanosleep",
    "clock_nanosleep", "sem_wait", "sem_timedwait", "pthread_join", "pthread_mutex_lock",
    "pthread_cond_wait", "io_uring_enter", "io_uring_wait_cqe", "io_uring_submit_and_wait",
]
# Of objects of the C++ library.
MEMBERS = ["wait", "wait_for", "wait_until", "join", "get_future", "arrive_and_wait", "acquire"]
SCOPED = ["sleep_for", "sleep_until", "create_directories", "read_symlink"]
# Constructors that open a file.
TYPES = ["ifstream", "ofstream", "fstream", "directory_iterator"]

WAITS = re.compile(
    rf"(?<![\w.>:])(?:::)?(?:{'|'.join(SYSTEM_CALLS)})\s*\("
    rf"|(?:\.|->)(?:{'|'.join(MEMBERS)})\s*\("
    rf"|\b(?:{'|'.join(SCOPED)})\s*\(|\b(?:{'|'.join(TYPES)})\b\s*\w*\s*[({{]")
MAY_WAIT = re.compile(r'\bMayWait\("')
OK = re.compile(r"style-ok\(wait\): \S")

LOCKS = re.compile(r"\bstd::(\w*mutex|unique_lock|lock_guard|scoped_lock|shared_lock|"
                   r"condition_variable\w*|call_once|\w*semaphore|latch|barrier)\b")
NAMELESS = re.compile(r"(?<!class )\bMutex\s+\w+\s*;")


def excused(lines, index):
    return any(OK.search(line) for line in lines[max(index - 2, 0):index + 1])


def announced(lines, index):
    return any(MAY_WAIT.search(line) for line in lines[max(index - LINES_ABOVE, 0):index + 1])


def problems_of(path, text):
    original = text.splitlines()
    for index, line in enumerate(strip_cpp(text).splitlines()):
        where = f"{path}:{index + 1}"
        wait = WAITS.search(line)
        if wait and not announced(original, index) and not excused(original, index):
            yield (f'{where}: {wait.group().strip()}...) can wait: put MayWait("for what"); above '
                   "it, or say why it does not: style-ok(wait): reason")
        lock = LOCKS.search(line)
        if lock and path != LOCKS_FILE:
            yield f"{where}: {lock.group()}: the wait checks see only {LOCKS_FILE}: use its Mutex"
        nameless = NAMELESS.search(line)
        if nameless:
            yield (f"{where}: {nameless.group()} has no place in the order of locks: give it a "
                   'name, as in Mutex mutex_{"Vm::mutex_"};')


def check_tree(root):
    return [problem for path in cpp_files(root, "hostd") if not path.startswith(EXEMPT)
            for problem in problems_of(path, read(root, path))]


SAMPLES = [  # (file, text, whether something is found)
    ("hostd/os/a.cc", "poll(&fd, 1, -1);\n", True),
    ("hostd/os/a.cc", 'MayWait("for a peer");\npoll(&fd, 1, -1);\n', False),
    ("hostd/os/a.cc", 'MayWait("for a peer");\n\n\n\n\npoll(&fd, 1, -1);\n', True),
    ("hostd/os/a.cc", "// style-ok(wait): only looks\npoll(&fd, 1, 0);\n", False),
    ("hostd/os/a.cc", "// style-ok(wait):\npoll(&fd, 1, 0);\n", True),
    ("hostd/os/a.cc", "if (::fsync(fd) != 0) return;\n", True),
    ("hostd/os/a.cc", "// call poll(2), or fsync(2)\n", False),
    ("hostd/os/a.cc", "ppoll(nullptr, 0, nullptr, nullptr);\n", True),
    ("hostd/os/a.cc", "memory->Read(page); Thread::read(a); record.write(b);\n", False),
    ("hostd/vm/a.cc", "thread_.join();\n", True),
    ("hostd/vm/a.cc", "condition->wait_for(lock, ns);\n", True),
    ("hostd/vm/a.cc", "std::this_thread::sleep_for(ns);\n", True),
    ("hostd/os/a.cc", "std::ifstream file(path);\n", True),
    ("hostd/os/a.cc", "for (auto& e : std::filesystem::directory_iterator(path)) f(e);\n", True),
    ("hostd/os/a.cc", "pread(fd, data, bytes, offset);\n", True),
    ("hostd/vm/a.h", "std::mutex mutex_;\n", True),
    ("hostd/vm/a.h", "std::lock_guard<std::mutex> lock(mutex_);\n", True),
    (LOCKS_FILE, "std::mutex mutex_;\n", False),
    ("hostd/vm/a.h", "mutable Mutex mutex_;\n", True),
    ("hostd/vm/a.h", 'mutable Mutex mutex_{"A::mutex_"};\n', False),
    ("hostd/ctl/a.cc", "poll(&fd, 1, -1);\n", False),
]


def self_test(tap):
    for path, text, wrong in SAMPLES:
        with tempfile.TemporaryDirectory() as root:
            file = Path(root, path)
            file.parent.mkdir(parents=True)
            file.write_text(text, encoding="utf-8")
            tap.expect(f"{path}: {' '.join(text.split())[:60].replace('#', '')}",
                       bool(check_tree(root)) == wrong)


def main():
    tap = Tap()
    self_test(tap)
    tap.point("whatever can wait says so", check_tree(ROOT))
    tap.end()


if __name__ == "__main__":
    main()
