# SPDX-License-Identifier: MIT
"""The library in a real QEMU, as user nobody in QEMU's sandbox, loaded in both ways."""

import contextlib
import dataclasses
import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from fake_ebbd import DEADLINE, HELLO, HELLO_BYTES, MAGIC, VERSION, FakeEbbd
from tap import Tap

QEMU = shutil.which("qemu-system-x86_64")
SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
RAM_BYTES = 128 << 20
MACHINE = ["-nodefaults", "-display", "none", "-S", "-accel", "tcg", "-m", "128",
           "-machine", "q35,memory-backend=ram0",
           "-object", "memory-backend-memfd,id=ram0,size=128M,share=on"]

tap = Tap()
if not QEMU:
    tap.skip_all("no qemu-system-x86_64")
if os.geteuid() != 0 or not os.path.exists("/dev/userfaultfd"):
    tap.skip_all("needs root, to play ebbd with /dev/userfaultfd")


@dataclasses.dataclass(frozen=True)
class Loading:
    """One of the two ways to load the library, with its options."""
    how: str
    arguments: tuple = ()
    environment: dict = dataclasses.field(default_factory=dict)

    def start(self, *arguments):
        return Qemu(*arguments, *self.arguments, environment=self.environment)

    def spelling(self, option):
        """qemu=any is EBB_QEMU=any in the environment."""
        name, value = option.split("=")
        return f"EBB_{name.upper()}={value}" if self.environment else option


def plugin(library, socket_path, **options):
    options = "".join(f",{name}={value}" for name, value in options.items())
    return Loading("plugin", ("-plugin", f"{library},socket={socket_path}{options}"))


def preload(library, socket_path, **options):
    variables = {f"EBB_{name.upper()}": value for name, value in options.items()}
    return Loading("preload",
                   environment={"LD_PRELOAD": library, "EBB_SOCKET": socket_path, **variables})


LOADERS = (plugin, preload)


class Qemu:
    """A QEMU as nobody. Ends with its scope."""

    def __init__(self, *arguments, sandbox=SANDBOX, environment=None):
        self.process = subprocess.Popen(
            [QEMU, *MACHINE, "-sandbox", sandbox, *arguments], user="nobody", group="nogroup",
            extra_groups=[], cwd="/", env={"PATH": "/usr/bin:/bin", **(environment or {})},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.pid = self.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate(timeout=DEADLINE)

    def quit(self, qmp_path):
        """(exit status, stdout, stderr) after QMP's quit, which a healthy QEMU obeys."""
        deadline = time.monotonic() + DEADLINE
        while not os.path.exists(qmp_path) and time.monotonic() < deadline:
            time.sleep(0.05)  # style-ok(sleep): polls with a deadline
        with socket.socket(socket.AF_UNIX) as qmp:
            qmp.settimeout(DEADLINE)
            qmp.connect(qmp_path)
            qmp.sendall(b'{"execute": "qmp_capabilities"} {"execute": "quit"}')
            return self.wait()

    def wait(self):
        out, errors = self.process.communicate(timeout=DEADLINE)
        return self.process.returncode, out, errors


def qemu_version():
    text = subprocess.run([QEMU, "--version"], capture_output=True, text=True, check=True).stdout
    return tuple(int(n) for n in re.search(r"version (\d+)\.(\d+)\.(\d+)", text).groups())


def ram_flags(pid):
    smaps = pathlib.Path(f"/proc/{pid}/smaps").read_text(encoding="ascii")
    ram = smaps[smaps.index("/memfd:memory-backend-memfd"):]
    return re.search("VmFlags:(.*)", ram).group(1).split()


def check_hello(hello, pid, name, qmp_path, how):
    tap.equal((hello.bytes, hello.size, hello.magic, hello.version, hello.type, hello.flags),
              (HELLO_BYTES, HELLO_BYTES, MAGIC, VERSION, HELLO, 0), f"{how}: Hello is well formed")
    tap.equal((hello.pid, hello.name, hello.qmp, hello.qemu_version),
              (pid, name, qmp_path, qemu_version()), f"{how}: it names the VM")
    tap.equal((hello.block_count, hello.memfd_count, len(hello.fds)), (1, 1, 2),
              f"{how}: one RAM block, one memfd")
    hva, size, offset, inode, page, index = hello.blocks[0]
    tap.equal((size, offset, inode, page, index),
              (RAM_BYTES, 0, os.fstat(hello.fds[1]).st_ino, 4096, 0), f"{how}: the RAM block")
    maps = pathlib.Path(f"/proc/{pid}/maps").read_text(encoding="ascii")
    tap.check(re.search(f"^{hva:x}-{hva + size:x} rw-s", maps, re.M), f"{how}: its address", maps)
    tap.equal((hello.file(0), hello.file(1)),
              ("anon_inode:[userfaultfd]", "/memfd:memory-backend-memfd (deleted)"),
              f"{how}: userfaultfd and RAM come along")


def check_attaches(ebbd, qemu, name, qmp_path, how):
    connection = ebbd.accept()
    hello = ebbd.greet(connection)
    check_hello(hello, qemu.pid, name, qmp_path, how)
    ebbd.send_accept(connection)
    tap.equal(qemu.process.stderr.readline(), f"ebb: VM {name} attached\n", f"{how}: attached")
    no_huge_pages = "nh" in ram_flags(qemu.pid)
    status, out, errors = qemu.quit(qmp_path)
    tap.equal((status, out), (0, ""), f"{how}: QEMU ends well, and stdout was left alone")
    tap.check("ebb:" not in errors, f"{how}: nothing more was said", errors)
    hello.close()
    connection.close()
    return no_huge_pages


def test_plugin(ebbd, library, qmp):
    with Qemu("-name", "guest=web 1,debug-threads=on", "-qmp", f"unix:{qmp},server=on,wait=off",
              "-plugin", f"{library},socket={ebbd.path},qmp={qmp}") as qemu:
        tap.check(check_attaches(ebbd, qemu, "web_1", qmp, "plugin"),
                  "plugin: huge pages are off before the guest runs")


def test_preload(ebbd, library, qmp):
    with Qemu("-name", "web", "-qmp", f"unix:{qmp},server=on,wait=off",
              environment={"LD_PRELOAD": library, "EBB_SOCKET": ebbd.path,
                           "EBB_QMP": qmp}) as qemu:
        tap.check(not check_attaches(ebbd, qemu, "web", qmp, "preload"), "preload: no madvise")


def test_both(ebbd, plugin, environment, how):
    """-plugin and LD_PRELOAD at once are one session."""
    with Qemu("-plugin", f"{plugin},socket={ebbd.path},mode=required,name=web",
              environment=environment) as qemu:
        connection = ebbd.accept()
        hello = ebbd.greet(connection)
        ebbd.send_accept(connection)
        tap.equal(qemu.process.stderr.readline(), "ebb: VM web attached\n", f"{how}: attached")
        names = [pathlib.Path(f"/proc/{qemu.pid}/task/{task}/comm").read_text(encoding="ascii")
                 for task in os.listdir(f"/proc/{qemu.pid}/task")]
        tap.equal(names.count("ebb-session\n"), 1, f"{how}: one session thread")
        tap.check(not ebbd.has_connection(), f"{how}: one connection")
        hello.close()
        connection.close()


def test_daemonize(ebbd, directory, how, loading, required=False):
    """The fork of -daemonize takes the preloaded library's thread away. The parent leaves when the
    child has started, which in required mode waits for ebbd."""
    pid_file = pathlib.Path(directory, f"{how}.pid")
    # spawn=deny forbids the fork itself.
    with Qemu("-daemonize", "-pidfile", str(pid_file), *loading.arguments, sandbox="on",
              environment=loading.environment) as parent:
        if required and loading.environment:
            answer_question(ebbd, f"daemonize, {how}")
        connection = ebbd.accept()
        hello = ebbd.greet(connection)
        ebbd.send_accept(connection)
        status, _, errors = parent.wait()
    if not tap.check(status == 0, f"daemonize, {how}: the parent leaves", errors):
        return
    pid = int(pid_file.read_text(encoding="ascii"))
    try:
        tap.equal((hello.pid, hello.name, hello.block_count), (pid, f"qemu-{pid}", 1),
                  f"daemonize, {how}: the child attaches")
        tap.check(not ebbd.has_connection(), f"daemonize, {how}: only the child")
        hello.close()
    finally:
        os.kill(pid, signal.SIGKILL)
    tap.check(FakeEbbd.ends(connection), f"daemonize, {how}: the socket ends with QEMU")


def answer_question(ebbd, how):
    """What a preloaded library asks in required mode, before QEMU has any RAM: who is there?"""
    connection = ebbd.accept()
    ebbd.send_offer(connection)
    tap.check(FakeEbbd.ends(connection), f"{how}: before all else it asks for ebbd")
    connection.close()


def check_start_fails(qemu, expected, how):
    status, _, errors = qemu.wait()
    tap.check(status != 0, f"{how}: QEMU does not start")
    tap.check(expected in errors, f"{how}: and says why", errors)


def test_start_fails(arguments, expected, how, **environment):
    with Qemu("-plugin", arguments, environment=environment) as qemu:
        check_start_fails(qemu, expected, how)


def test_required_without_ebbd(library, nowhere):
    """Each waits 10 s for ebbd: both at once."""
    loadings = [load(library, nowhere, mode="required", name="web") for load in LOADERS]
    with contextlib.ExitStack() as running:
        qemus = [running.enter_context(loading.start()) for loading in loadings]
        for loading, qemu in zip(loadings, qemus):
            check_start_fails(qemu, f"ebb: {loading.spelling('mode=required')}: VM web does not "
                              f"start without ebbd at {nowhere}",
                              f"required without ebbd, {loading.how}")


def test_wrong_environment(library, nowhere):
    """What the library cannot make sense of does not lift a promise."""
    refusal = "ebb: EBB_QEMU: '11.2' is not 'any'; the VM {}"
    with preload(library, nowhere, qemu="11.2", mode="required").start() as qemu:
        check_start_fails(qemu, refusal.format("does not start"), "wrong environment, required")
    with preload(library, nowhere, qemu="11.2").start() as qemu:
        tap.equal(qemu.process.stderr.readline(), refusal.format("runs without overcommit") + "\n",
                  "wrong environment: QEMU runs on")


def test_required_preload(ebbd, library):
    with preload(library, ebbd.path, mode="required", name="web").start() as qemu:
        answer_question(ebbd, "required, preload")
        connection = ebbd.accept()
        hello = ebbd.greet(connection)
        ebbd.send_accept(connection)
        tap.equal(qemu.process.stderr.readline(), "ebb: VM web attached\n",
                  "required, preload: with ebbd it starts and attaches")
        hello.close()
        connection.close()


def test_untested_version(load, ebbd, library, qmp):
    """`library` is this Ebb's, but for the newest QEMU that it takes, which was 7.1."""
    monitor = ("-qmp", f"unix:{qmp},server=on,wait=off")
    optional = load(library, ebbd.path, name="web")
    how = f"a QEMU too new, {optional.how}"
    version = ".".join(map(str, qemu_version()))
    refusal = (f"ebb: VM web: QEMU {version} is newer than 7.1, the newest that Ebb is tested "
               "with; the VM {}. Use another QEMU or Ebb, or take the risk with "
               + optional.spelling("qemu=any"))
    with optional.start(*monitor) as qemu:
        tap.equal(qemu.process.stderr.readline(), refusal.format("runs without overcommit") + "\n",
                  f"{how}: it says why, and what to do")
        status, _, errors = qemu.quit(qmp)
        tap.equal((status, "ebb" in errors), (0, False), f"{how}: QEMU runs on")
    with load(library, ebbd.path, name="web", mode="required").start(*monitor) as qemu:
        check_start_fails(qemu, refusal.format("does not start"), f"{how}, required")
    tap.check(not ebbd.has_connection(), f"{how}: nobody connects")
    with load(library, ebbd.path, name="web", qmp=qmp, qemu="any").start(*monitor) as qemu:
        check_attaches(ebbd, qemu, "web", qmp, f"{how}, with qemu=any")


with tempfile.TemporaryDirectory(prefix="ebb-qemu-") as place:
    # Where nobody may read and write.
    os.chown(place, pwd.getpwnam("nobody").pw_uid, -1)
    os.chmod(place, 0o755)
    built = shutil.copy(sys.argv[1], f"{place}/libebb-qemu.so")
    second = shutil.copy(sys.argv[1], f"{place}/libebb-second.so")
    past = shutil.copy(sys.argv[2], place)
    daemon, other_daemon = FakeEbbd(f"{place}/ebbd.sock"), FakeEbbd(f"{place}/other.sock")

    test_plugin(daemon, built, f"{place}/qmp.sock")
    test_preload(daemon, built, f"{place}/qmp.sock")
    test_both(daemon, built, {"LD_PRELOAD": built, "EBB_SOCKET": other_daemon.path}, "both")
    tap.check(not other_daemon.has_connection(), "both: the plugin's socket")
    test_both(daemon, second, {"LD_PRELOAD": built, "EBB_SOCKET": daemon.path, "EBB_NAME": "web"},
              "both, from two files")
    for loader in LOADERS:
        test_daemonize(daemon, place, loader.__name__, loader(built, daemon.path))
        test_daemonize(daemon, place, f"{loader.__name__}, required",
                       loader(built, daemon.path, mode="required"), required=True)
        test_untested_version(loader, daemon, past, f"{place}/qmp.sock")
    test_required_preload(daemon, built)
    test_required_without_ebbd(built, f"{place}/none.sock")
    test_wrong_environment(built, f"{place}/none.sock")
    test_start_fails(f"{built},socket={daemon.path}", "plugin requires API version 99",
                     "an API version that QEMU has not", EBB_PLUGIN_API="99")
    test_start_fails(f"{built},socket={daemon.path},swap=on", "ebb: unknown argument 'swap=on'",
                     "unknown argument")
tap.done()
