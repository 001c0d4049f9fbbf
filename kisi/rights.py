"""Who else decides what is in a file: owners and rights of it and of every folder above it.

Who can change kisi.toml, mapping.toml, a secret or a pinned certificate can have passwords sent to
himself, or bill what nobody used. `exposures` is the one rule of a platform.
"""

from __future__ import annotations

import os
import shlex
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path


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
