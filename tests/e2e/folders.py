# SPDX-License-Identifier: MIT
"""The temporary folder of a run: sockets, logs, and copies of what QEMU's user has to read."""

import contextlib
import os
import shutil
import tempfile
import time
from pathlib import Path

from options import REPOSITORY
from process import User

ROOT_UID = 0


def give_to_owner(folder: Path) -> None:
    """What root put into the clone belongs to the clone's owner, who can then remove it. Not what
    root gave to QEMU's user: other tests use that meanwhile, and remove it."""
    owner = REPOSITORY.stat()
    for path in (folder.parent, folder, *folder.rglob("*")):
        with contextlib.suppress(FileNotFoundError):
            if path.lstat().st_uid == ROOT_UID:
                os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


class Folders:
    def __init__(self, user: User) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="ebb-"))
        self.root.chmod(0o755)
        self._user = user
        self.qemu = self.of_qemu("qemu")
        self._elsewhere: list[Path] = []

    def of_qemu(self, name: str) -> Path:
        """Where a QEMU creates its sockets and the console's log itself."""
        folder = self.root / name
        folder.mkdir()
        os.chown(folder, self._user.uid, self._user.gid)
        return folder

    def adopt(self, file: Path) -> Path:
        """A file that lies elsewhere, and is removed at the latest with the folder."""
        self._elsewhere.append(file)
        return file

    def remove_adopted(self) -> None:
        """As soon as they are open: then nothing of them stays behind, whatever happens to us."""
        for file in self._elsewhere:
            file.unlink(missing_ok=True)

    def stage(self, source: Path) -> Path:
        """A copy that every user can read: the clone may lie where only its owner can."""
        target = self.root / source.name
        shutil.copyfile(source, target)
        target.chmod(0o755)
        return target

    def log(self, name: str) -> Path:
        return self.root / f"{name}.log"

    def logs(self) -> list[Path]:
        """ebbd's, QEMU's and the guest's console, as far as there are any."""
        return sorted(self.root.rglob("*.log"))

    def keep_logs(self, parent: Path) -> Path:
        target = parent / time.strftime("%Y%m%d-%H%M%S")
        target.mkdir(parents=True, exist_ok=True)
        for log in self.logs():
            shutil.copyfile(log, target / log.name)
        give_to_owner(parent)
        return target

    def remove(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
        self.remove_adopted()
