"""Files: written whole or not at all, and past nothing that lies in wait; read without waiting."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

_ATTEMPTS = 11
_PAUSE = 0.2
"""Eleven attempts with pauses of 0.2 s: two seconds for a virus scanner or an editor to let go."""
_FOLDERS_SYNC = os.name == "posix"
PRIVATE = 0o600
JOURNAL = "journal.db"
"""Its name in the state folder."""
NOT_REGULAR = "it is not a regular file"
_NO_WAITING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)


@contextlib.contextmanager
def open_regular(path: Path, opener: Callable[[str, int], int] = os.open) -> Iterator[BinaryIO]:
    """Opens a file to be read; `OSError` if it is none, such as a pipe, which may never end."""
    # Without waiting: a pipe that nobody writes to would keep `open` itself for ever.
    with open(path, "rb", opener=lambda name, flags: opener(name, flags | _NO_WAITING)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, NOT_REGULAR)
        yield file


def atomic_write(
    path: Path,
    content: bytes,
    *,
    mode: int | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Puts a complete file in the place of `path`; after an error the old one is there, alone.

    It is written beside `path` under a name that nobody can know. A link would be replaced. With
    `mode`, the permissions, the owner of an old file is kept too; without, they are the system's.
    It sleeps between attempts while another program holds the file (Windows). Otherwise `OSError`.
    """
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        # Nobody else may read it until it has the old one's rights.
        private = None if mode is None else partial(os.open, mode=PRIVATE)
        with open(new, "xb", opener=private) as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        if mode is not None:
            if hasattr(os, "chown") and path.exists():
                owner = path.stat()
                with contextlib.suppress(PermissionError):  # only root gives files away
                    os.chown(new, owner.st_uid, owner.st_gid)
            new.chmod(mode)
        _replace(new, path, sleep)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def _replace(new: Path, path: Path, sleep: Callable[[float], None]) -> None:
    for _ in range(_ATTEMPTS - 1):
        try:
            new.replace(path)
        except PermissionError:
            sleep(_PAUSE)
        else:
            return
    new.replace(path)


def private_folder(folder: Path) -> None:
    """Makes a folder, and what is missing above it, for its owner alone whatever the umask.

    `mkdir(parents=True)` leaves the folders above to the umask.
    """
    for place in (*reversed(folder.parents), folder):
        if not place.exists():
            place.mkdir(mode=0o700, exist_ok=True)  # two runs may begin at once
            place.chmod(0o700)


def sync_folder(folder: Path) -> None:
    """Makes new names in a folder survive a power cut, where folders can be synced (POSIX)."""
    if not (_FOLDERS_SYNC and os.access(folder, os.R_OK)):
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
