# SPDX-License-Identifier: MIT
"""LD_PRELOAD brings the library into every program. Only QEMU with EBB_SOCKET may notice."""

import os
import shutil
import subprocess
import sys
import tempfile

from fake_ebbd import DEADLINE, FakeEbbd
from tap import Tap

LIBRARY, FAKE_QEMU = map(os.path.abspath, sys.argv[1:])
tap = Tap()


def environment(**more):
    return {"PATH": "/usr/bin:/bin", "LD_PRELOAD": LIBRARY, **more}


with tempfile.TemporaryDirectory(prefix="ebb-preload-") as directory:
    ebbd = FakeEbbd(f"{directory}/ebbd.sock")
    # The same program, with guest RAM, under a name that is QEMU's and one that is not.
    fake_qemu = shutil.copy(FAKE_QEMU, f"{directory}/qemu-system-test")
    other = shutil.copy(FAKE_QEMU, f"{directory}/qemu-img")

    # As where all of an environment is meant for one QEMU.
    required = environment(EBB_SOCKET=ebbd.path, EBB_MODE="required", EBB_NAME="web")
    for program in ("true", "env", "qemu-img"):
        path = shutil.which(program, path="/usr/bin:/bin")
        if path is None:
            continue
        command = [path, "--version"]
        plain = subprocess.run(command, env={"PATH": "/usr/bin:/bin"}, timeout=DEADLINE,
                               capture_output=True, check=True)
        loaded = subprocess.run(command, env=required, timeout=DEADLINE, capture_output=True,
                                check=False)
        tap.equal((loaded.returncode, loaded.stdout, loaded.stderr), (0, plain.stdout, b""),
                  f"{program} does what it always did")
        tap.check(not ebbd.has_connection(), f"{program} does not connect")

    # The child sees the list that its parent has: a wrapper must hand it on to QEMU.
    shell = subprocess.run(["/bin/sh", "-c", "echo $LD_PRELOAD"], check=False,
                           env=environment(EBB_SOCKET=ebbd.path), timeout=DEADLINE,
                           capture_output=True, text=True)
    tap.equal((shell.stdout.strip(), shell.stderr), (LIBRARY, ""), "a wrapper keeps LD_PRELOAD")

    def start(program, **more):
        process = subprocess.Popen([program], env=environment(**more), stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdout.readline()  # "started"
        return process

    def threads(process):
        return len(os.listdir(f"/proc/{process.pid}/task"))

    def preload_list(process):
        process.stdin.write(b"preload\n")
        process.stdin.flush()
        return process.stdout.readline().decode()

    def finish(process):
        _, errors = process.communicate(timeout=DEADLINE)
        return errors.decode()

    process = start(other, EBB_SOCKET=ebbd.path)
    tap.equal(threads(process), 1, "another program of QEMU's with guest RAM gets no thread")
    tap.equal(finish(process), "", "and says nothing")
    tap.check(not ebbd.has_connection(), "and does not connect")

    process = start(fake_qemu)
    tap.equal(threads(process), 1, "QEMU without EBB_SOCKET gets no thread")
    tap.equal(preload_list(process), f"preload {LIBRARY}\n", "keeps LD_PRELOAD")
    tap.equal(finish(process), "", "and says nothing")

    process = start(fake_qemu, EBB_SOCKET="ebbd.sock")
    tap.equal(threads(process), 1, "QEMU with a wrong EBB_SOCKET gets no thread")
    tap.equal(finish(process), "ebb: EBB_SOCKET: 'ebbd.sock' is not an absolute path; the VM runs "
              "without overcommit\n", "and says why")

    process = start(fake_qemu, EBB_SOCKET=ebbd.path, EBB_NAME="web")
    connection = ebbd.accept()
    tap.equal(threads(process), 2, "QEMU with EBB_SOCKET gets its thread, and it connects")
    tap.equal(preload_list(process), "preload (unset)\n", "programs it starts get no LD_PRELOAD")
    smaps = open(f"/proc/{process.pid}/smaps", encoding="ascii").read()
    ram = smaps[smaps.index("/memfd:memory-backend-memfd"):]
    flags = ram[ram.index("VmFlags:"):].splitlines()[0]
    tap.check(" nh" not in flags, "no madvise while the guest may run already", flags)
    connection.close()
    finish(process)
tap.done()
