"""Windows: who may open a file, what ends a console program, and the system's time zone.

What is decided is a function of values, so that it can be tested everywhere; what asks Windows
itself is short, at the end of the module, and there on Windows alone.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

EVERYONE, SYSTEM, ADMINISTRATORS = "S-1-1-0", "S-1-5-18", "S-1-5-32-544"
_TRUSTED = {
    SYSTEM,
    ADMINISTRATORS,
    "S-1-3-0",  # whoever creates a file in the folder: judged as that file's owner
    "S-1-3-4",  # whoever owns it
    "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464",  # Windows' own installer
}
_TAKE_OVER = 0x100C0000  # GENERIC_ALL, WRITE_OWNER, WRITE_DAC
READ = 0x80000001 | _TAKE_OVER
"""GENERIC_READ, FILE_READ_DATA (of a folder: to list it), and to give oneself that right."""
WRITE = 0x40010046 | _TAKE_OVER
"""GENERIC_WRITE, DELETE, and to write, append, or delete what is in a folder."""
_ALL = 0x1F01FF
_ALLOWED, _DENIED = {0, 9}, {1}
"""Kinds of entries; 9 holds under a condition. A denial under one is not believed."""


@dataclass(frozen=True, slots=True)
class Access:
    """Who owns a file or folder, and what its access list allows to whom."""

    owner: str
    entries: tuple[tuple[str, int], ...]
    """Security identifiers and the rights that they have, in the order of the list."""

    @classmethod
    def parse(cls, raw: bytes) -> Access:
        """Reads a self-relative security descriptor with its owner and access list ([MS-DTYP])."""
        owner, _, _, acl = struct.unpack_from("<4x4I", raw)
        if not acl:  # no list at all: everybody may do everything
            return cls(_sid(raw, owner), ((EVERYONE, _ALL),))
        at, granted = acl + 8, []
        denied: dict[str, int] = {}
        for _ in range(struct.unpack_from("<4xH", raw, acl)[0]):
            kind, size, rights = struct.unpack_from("<BxHI", raw, at)
            who = _sid(raw, at + 8)
            if kind in _DENIED:
                denied[who] = denied.get(who, 0) | rights
            elif kind in _ALLOWED:
                granted.append((who, rights & ~denied.get(who, 0)))
            at += size
        return cls(_sid(raw, owner), tuple(granted))


def _sid(raw: bytes, at: int) -> str:
    revision, count = struct.unpack_from("BB", raw, at)
    authority = int.from_bytes(raw[at + 2 : at + 8], "big")
    parts = struct.unpack_from(f"<{count}I", raw, at + 8)
    return "-".join(map(str, ("S", revision, authority, *parts)))


@dataclass(frozen=True, slots=True)
class Asker:
    """The account of this process, and whether it has an administrator's rights now."""

    sid: str
    is_administrator: bool = False


def others(access: Access, asker: Asker, rights: int) -> tuple[str, tuple[str, ...]]:
    """The account that kisi runs as, and who beside it and administrators has one of `rights`.

    An owner can give himself any right. Where an administrator asks, and one account more is named,
    kisi runs as that one.
    """
    able = [access.owner, *(who for who, has in access.entries if has & rights)]
    strangers = [who for who in dict.fromkeys(able) if who not in {*_TRUSTED, asker.sid}]
    # of a machine or domain, and none of their built-in groups
    accounts = [x for x in strangers if x.startswith("S-1-5-21-") and int(x.split("-")[-1]) >= 1000]
    if asker.is_administrator and len(accounts) == 1:
        strangers.remove(accounts[0])
        return accounts[0], tuple(strangers)
    return asker.sid, tuple(strangers)


def icacls(
    path: Path, access: Access, account: str, strangers: Collection[str], *, is_folder: bool
) -> str:
    """The commands that leave `account`, SYSTEM and administrators in, and nobody else.

    Groups have other names in other languages, so all stand as security identifiers.
    """
    inherited = "(OI)(CI)" if is_folder else ""
    keep = [f'"*{who}:{inherited}F"' for who in dict.fromkeys((SYSTEM, ADMINISTRATORS, account))]
    gone = [f"*{who}" for who in strangers]
    command = f'icacls "{path}" /inheritance:r /grant:r {" ".join(keep)} /remove {" ".join(gone)}'
    if access.owner in strangers:
        return f'`icacls "{path}" /setowner *{ADMINISTRATORS}`, then `{command}`'
    return f"`{command}`"


# --- what asks Windows ----------------------------------------------------------------------------

if sys.platform == "win32":
    import ctypes
    import threading
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import contextmanager
    from ctypes import byref, wintypes
    from functools import cache
    from importlib import import_module

    from kisi.model import Finding, Level

    _advapi32 = ctypes.WinDLL("advapi32", use_last_error=True)
    _kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
    _OWNER, _LIST = 1, 4
    _CTRL_C, _CTRL_BREAK = 0, 1
    _EVENT_HANDLER = ctypes.WINFUNCTYPE(wintypes.BOOL, wintypes.DWORD)

    @cache
    def asker() -> Asker:
        """Who runs this process."""
        token, size = wintypes.HANDLE(), wintypes.DWORD()
        user = ctypes.create_string_buffer(256)  # TOKEN_USER: pointer and attributes, then the SID
        if not (
            _advapi32.OpenProcessToken(wintypes.HANDLE(-1), 8, byref(token))
            and _advapi32.GetTokenInformation(token, 1, user, len(user), byref(size))
        ):
            raise ctypes.WinError(ctypes.get_last_error())
        _kernel32.CloseHandle(token)
        sid = _sid(user.raw, 2 * ctypes.sizeof(ctypes.c_void_p))
        return Asker(sid, bool(ctypes.windll.shell32.IsUserAnAdmin()))

    def exposed(path: Path, rights: int) -> tuple[str, str] | None:
        """Who else has one of `rights`, by name, and what ends that; None: nobody, or no file."""
        raw, size = ctypes.create_string_buffer(0), wintypes.DWORD()
        read = _advapi32.GetFileSecurityW
        while not read(str(path), _OWNER | _LIST, raw, len(raw), byref(size)):
            if size.value <= len(raw):
                return None
            raw = ctypes.create_string_buffer(size.value)
        access = Access.parse(raw.raw)
        account, strangers = others(access, asker(), rights)
        if not strangers:
            return None
        names = ", ".join(map(account_name, strangers))
        return names, icacls(path, access, account, strangers, is_folder=path.is_dir())

    def make_private(path: Path) -> None:
        """Leaves this account, SYSTEM and administrators in, and nobody else."""
        text = "".join(f"(A;;FA;;;{who})" for who in ("SY", "BA", asker().sid))
        rights = ctypes.c_void_p()
        if not (
            _advapi32.ConvertStringSecurityDescriptorToSecurityDescriptorW(
                f"D:P{text}", 1, byref(rights), None
            )
            and _advapi32.SetFileSecurityW(str(path), _LIST, rights)
        ):
            raise ctypes.WinError(ctypes.get_last_error())
        _kernel32.LocalFree(rights)

    def open_to_others(files: Iterable[Path], state: Path) -> Iterator[Finding]:
        """Warnings of files that others can change or replace, and of a state they can read."""
        files = tuple(dict.fromkeys(files))
        folders = dict.fromkeys(path.parent for path in files if path.parent != state)
        for path, rights, what in (
            *((file, WRITE, f"change {file}") for file in files),
            *((folder, WRITE, f"replace the files in {folder}") for folder in folders),
            (state, READ | WRITE, f"use the state folder {state}, where clients are named"),
        ):
            if found := exposed(path, rights):
                names, remedy = found
                yield Finding(Level.WARNING, f"{names} can {what}.", f"Run {remedy}.")

    def account_name(sid: str) -> str:
        """An account or group as people know it; its identifier where that has no name."""
        pointer, kind, size = ctypes.c_void_p(), wintypes.DWORD(), wintypes.DWORD(256)
        name, domain = ctypes.create_unicode_buffer(256), ctypes.create_unicode_buffer(256)
        if not _advapi32.ConvertStringSidToSidW(sid, byref(pointer)):
            return sid
        known = _advapi32.LookupAccountSidW(
            None, pointer, name, byref(size), domain, byref(wintypes.DWORD(256)), byref(kind)
        )
        _kernel32.LocalFree(pointer)
        return f"{domain.value}\\{name.value}".lstrip("\\") if known else sid

    @contextmanager
    def console_events(heard: Callable[[int, None], None]) -> Iterator[Callable[[int], bool]]:
        """Calls `heard` at CTRL_BREAK, and when the console closes, at log-off and at shutdown.

        Where the console ends, Windows ends the process as soon as its handler returns, or after
        five seconds; so it never does, and the run has them for the write under way. ^C is
        Python's own. The Task Scheduler stops a task by closing its console.
        """
        ends = False

        def handle(event: int) -> bool:
            nonlocal ends
            if event == _CTRL_C:
                return False
            ends = event != _CTRL_BREAK
            heard(event, None)
            if ends:
                threading.Event().wait()
            return True

        handler = _EVENT_HANDLER(handle)
        _kernel32.SetConsoleCtrlHandler(handler, 1)
        try:
            yield handle
        finally:
            if not ends:  # else it would wait for a lock that the handler's thread has
                _kernel32.SetConsoleCtrlHandler(handler, 0)

    def system_zone() -> str:
        """The IANA name of the machine's zone, or of `TZ`; `LookupError` if there is none."""
        return str(import_module("tzlocal").get_localzone_name() or "")

    def zone_of(windows_name: str) -> str:
        """`Europe/Berlin` for `W. Europe Standard Time`; another name is returned as it is."""
        names: dict[str, str] = import_module("tzlocal.windows_tz").win_tz
        return names.get(windows_name, windows_name)
