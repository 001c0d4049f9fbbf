"""Files: written whole or not at all, read without waiting, and who else decides what is in them.

Who can change kisi.toml, mapping.toml, a secret or a pinned certificate can have passwords sent to
himself, or bill what nobody used. `exposures` is the one rule of a platform.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shlex
import stat
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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


# --- owners and rights of a file and of every folder above it -------------------------------------


@dataclass(frozen=True, slots=True)
class Exposure:
    """One way in which another user could change or replace a file."""

    place: Path  # the file, a link to it, or a folder above either
    what: str
    remedy: str
    refused: bool
    """The file is not used; otherwise `kisi check` points it out."""


def why_not_used(path: Path) -> str:
    """Why a file that kisi trusts is not used, with what to do; empty if it may be."""
    found = (f"{e.what} kisi does not use it. {e.remedy}" for e in exposures(path) if e.refused)
    return next(found, "")


def is_foreign(status: os.stat_result) -> bool:
    """Whether something belongs to neither this user nor root. Windows calls every owner 0."""
    return status.st_uid not in {0, getattr(os, "geteuid", int)()}


if sys.platform == "win32":

    def exposures(path: Path) -> Iterator[Exposure]:
        """None: access lists are not judged here."""
        del path
        return iter(())

else:
    import grp
    import pwd

    def exposures(path: Path) -> Iterator[Exposure]:
        """How a file, a link to it or a folder above either could be changed by another user.

        A folder that an id without an account owns (in a container, one of the host) is only
        pointed out. So are rights: a group may be meant to change a file (`kisi map`). With the
        sticky bit, as in `/tmp`, nobody replaces the files of others.
        """
        for place, status in _places(path):
            mode, quoted, is_folder = status.st_mode, shlex.quote(str(place)), place.is_dir()
            if is_foreign(status):
                name, uid = _name(pwd.getpwuid, status.st_uid), os.geteuid()
                who = f"the user {name}" if name else f"the id {status.st_uid}, without an account"
                own = _name(pwd.getpwuid, uid) or uid
                said = f"{place} belongs to {who}, and not to {own}{' or root' * (uid > 0)}."
                remedy = f"As root, run `chown {own} {quoted}`, or run kisi as its owner."
                yield Exposure(place, said, remedy, refused=bool(name) or not is_folder)
            if stat.S_ISLNK(mode) or (is_folder and mode & stat.S_ISVTX):
                continue
            by_all = bool(mode & stat.S_IWOTH)
            by_group = is_folder and bool(mode & stat.S_IWGRP) and _has_others(status.st_gid)
            if by_all or by_group:
                group = f"The group {_name(grp.getgrgid, status.st_gid) or status.st_gid}"
                who = "Every user of this machine" if by_all else group
                said = f"{who} can {'replace the files in' if is_folder else 'change'} {place}."
                remedy = f"Run `chmod {'g' * by_group}{'o' * by_all}-w {quoted}`."
                yield Exposure(place, said, remedy, refused=False)

    def _places(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
        """A file and all folders that lead to it, also those behind links, and the links."""
        paths, seen = [path.absolute()], set[Path]()
        for each in paths:
            for place in (each, *each.parents):
                if place in seen or not os.path.lexists(place):
                    continue
                seen.add(place)
                status = place.stat(follow_symlinks=False)
                if stat.S_ISLNK(status.st_mode):
                    paths.append(place.parent / place.readlink())
                yield place, status

    def _has_others(gid: int) -> bool:
        """Whether a group has other members than this user and root, as `users` has."""
        names = next((one.gr_mem for one in grp.getgrall() if one.gr_gid == gid), [])
        users = (one for one in pwd.getpwall() if one.pw_gid == gid or one.pw_name in names)
        return gid != 0 and not {one.pw_uid for one in users} <= {0, os.geteuid()}

    def _name(of: Callable[[int], tuple[object, ...]], ident: int) -> str:
        try:
            return str(of(ident)[0])
        except KeyError:
            return ""
