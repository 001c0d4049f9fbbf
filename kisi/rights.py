"""Who else decides what is in a file: owners and rights of the file and of every folder above it.

Who can change kisi.toml, mapping.toml, a secret or a pinned certificate can have passwords sent to
himself, or bill what nobody used. `exposures` is the one rule of this platform: on POSIX owners and
modes; Windows has access lists instead.
"""

from __future__ import annotations

import os
import shlex
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Exposure:
    """One way in which another user could change or replace a file."""

    place: Path
    """The file, a link to it, or a folder above either."""
    what: str
    remedy: str
    refused: bool
    """The file is not used; otherwise `kisi check` points it out."""


def why_not_used(path: Path) -> str:
    """Why a file that kisi trusts is not used, with what to do; empty if it may be."""
    found = (each for each in exposures(path) if each.refused)
    return next((f"{each.what} kisi does not use it. {each.remedy}" for each in found), "")


def is_foreign(status: os.stat_result) -> bool:
    """Whether something belongs to neither this user nor root. Windows calls every owner 0."""
    own: int = getattr(os, "geteuid", int)()
    return status.st_uid not in {0, own}


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

        A folder that an id without an account owns is only pointed out: in a container it is often
        that of the host. So are rights: a group may be meant to keep a file, and with the sticky
        bit, as in `/tmp`, nobody replaces the files of others.
        """
        for place, status in _places(path):
            mode, is_folder = status.st_mode, stat.S_ISDIR(status.st_mode)
            quoted, name = shlex.quote(str(place)), _user(status.st_uid)
            subject = f"The folder {place}" if is_folder else str(place)
            if is_foreign(status):
                who = f"the user {name}" if name else f"the id {status.st_uid}, without an account"
                own = _user(os.geteuid()) or str(os.geteuid())
                yield Exposure(
                    place,
                    f"{subject} belongs to {who}, and not to {own} or root.",
                    f"As root, run `chown {own} {quoted}`, or run kisi as its owner.",
                    refused=bool(name) or not is_folder,
                )
            if stat.S_ISLNK(mode) or (is_folder and mode & stat.S_ISVTX):
                continue
            by_all = bool(mode & stat.S_IWOTH)
            by_group = bool(mode & stat.S_IWGRP) and _has_others(status.st_gid)
            if by_all or by_group:
                group = f"The group {_group(status.st_gid)}"
                who = "Every user of this machine" if by_all else group
                does = "replace the files in" if is_folder else "change"
                whose = "g" * by_group + "o" * by_all
                yield Exposure(
                    place,
                    f"{who} can {does} {place}.",
                    f"Run `chmod {whose}-w {quoted}`.",
                    refused=False,
                )

    def _places(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
        """A file and all folders that lead to it, also those behind links, and the links."""
        paths, seen = [path.absolute()], set[Path]()
        for each in paths:
            for place in (each, *each.parents):
                if place in seen or not os.path.lexists(place):
                    continue
                seen.add(place)
                status = place.lstat()
                if stat.S_ISLNK(status.st_mode):
                    paths.append(place.parent / place.readlink())
                yield place, status

    def _has_others(gid: int) -> bool:
        """Whether a group has other members than this user and root, as `users` has."""
        try:
            named = grp.getgrgid(gid).gr_mem
        except KeyError:
            named = []
        users = (one for one in pwd.getpwall() if one.pw_gid == gid or one.pw_name in named)
        return gid != 0 and not {one.pw_uid for one in users} <= {0, os.geteuid()}

    def _user(uid: int) -> str:
        try:
            return pwd.getpwuid(uid).pw_name
        except KeyError:
            return ""

    def _group(gid: int) -> str:
        try:
            return grp.getgrgid(gid).gr_name
        except KeyError:
            return str(gid)
