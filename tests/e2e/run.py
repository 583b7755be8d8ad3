#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Boots a stock QEMU guest under ebbd, holds it to a limit, shows it live, and says how it went.

./run installs and builds what this needs and starts it as root.
"""

import argparse
import json
import os
import sys

import options
from accelerator import AcceleratorError
from control import ControlError
from debian_package import PackageError
from disk_image import DiskImageError
from folders import Folders
from guest import is_progress
from live_run import LiveRun
from preparation import PreparationError, prepare
from process import User, ignore_ending_signals, obey_ending_signals
from qemu import unprivileged_user
from scene import StartError
from sizes import mib
from summary import as_json, as_text, failures

EXPLAINED = (AcceleratorError, ControlError, DiskImageError, PackageError, PreparationError,
             StartError)
LOG_LINES_SHOWN = 8


def main() -> int:
    arguments = options.parse()
    if os.geteuid() != 0:
        print("This needs root: start it with ./run.", file=sys.stderr)
        return 1
    obey_ending_signals()
    user = unprivileged_user()
    folders = Folders(user)
    passed = False
    try:
        passed = run(arguments, folders, user)
    except EXPLAINED as error:
        print(f"\nEbb could not run the guest: {error}")
        show_logs(folders)
    except KeyboardInterrupt:
        print("\nStopped before the guest ran.")
    finally:
        if not passed and folders.logs():
            kept = folders.keep_logs(arguments.build / "run-logs")
            print(f"\nThe logs of the run are in {kept}")
        folders.remove()
    return 0 if passed else 1


def run(arguments: argparse.Namespace, folders: Folders, user: User) -> bool:
    """Whether the run passed. Everything it started has ended when it returns."""
    prepared = prepare(arguments, folders, user)
    setting = prepared.setting
    print(f"Starting a guest with {mib(setting.ram_bytes)} of memory in QEMU "
          f"{setting.qemu_version}, with {setting.accelerator.upper()} "
          f"({setting.accelerator_reason})", flush=True)
    live = LiveRun(prepared, folders, user)
    try:
        live.start()
        try:
            live.watch()
        except KeyboardInterrupt:
            pass
        ignore_ending_signals()
        ending = live.ending()
    finally:
        ignore_ending_signals()
        complaints = live.close()
    ending.deaths += complaints
    print(as_text(setting, live.record, ending))
    if ending.deaths:
        show_logs(folders)
    if arguments.json:
        arguments.json.write_text(
            json.dumps(as_json(setting, live.record, ending), indent=2) + "\n")
    return not failures(setting, live.record, ending)


def show_logs(folders: Folders) -> None:
    for log in folders.logs():
        lines = [line for line in log.read_text(errors="replace").splitlines()
                 if not is_progress(line)]
        if lines:
            print("", f"The last lines of {log.name}:",
                  *(f"  {line}" for line in lines[-LOG_LINES_SHOWN:]), sep="\n")


if __name__ == "__main__":
    sys.exit(main())
