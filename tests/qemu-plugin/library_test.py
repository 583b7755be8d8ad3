# SPDX-License-Identifier: MIT
"""What libebb-qemu.so brings into QEMU: libc and nothing else, two symbols and nothing else."""

import os
import re
import subprocess
import sys

from tap import Tap

LIBRARY = sys.argv[1]
tap = Tap()


def run(*command):
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=30).stdout


loaded = run("ldd", "-r", LIBRARY)
allowed = re.compile(r"\s*(linux-vdso|linux-gate|libc|/\S*ld-linux[\w-]*|/\S*ld[\w-]*)\.so\.\d+\b")
tap.equal([line for line in loaded.splitlines() if not allowed.match(line)], [],
          "ldd lists libc, the loader and the vdso only, and no symbol is missing")
tap.check("libc.so" in loaded, "ldd says something", loaded)

defined = [line.split()[-1] for line in run("nm", "-D", "--defined-only", LIBRARY).splitlines()]
tap.equal(sorted(defined), ["qemu_plugin_install", "qemu_plugin_version"],
          "two symbols are exported")

undefined = [line.split()[-1] for line in run("nm", "-D", "--undefined-only", LIBRARY).splitlines()]
tap.equal([name for name in undefined if re.match(r"_Z|qemu|__cxa(?!_finalize)|_Unwind", name)], [],
          "nothing of QEMU's plugin API and nothing of the C++ runtime is asked for")
tap.equal([name for name in undefined if re.match(r"(malloc|calloc|realloc|free)\b", name)], [],
          "no heap of its own")

flags = run("readelf", "-d", LIBRARY)
tap.check("NODELETE" in flags, "dlclose does not pull the code from under the thread", flags)
tap.check(os.path.basename(LIBRARY) == "libebb-qemu.so", "its name", LIBRARY)
tap.done()
