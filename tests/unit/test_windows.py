"""Windows' access lists: what is decided is tested everywhere, what Windows is asked only there."""

from __future__ import annotations

import os
import struct
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from kisi.config.load import state_dir_of
from kisi.errors import ConfigError, ExitCode, StateError
from kisi.windows import (
    ADMINISTRATORS,
    EVERYONE,
    READ,
    SYSTEM,
    WRITE,
    Access,
    Asker,
    icacls,
    others,
)

KISI, EVE = "S-1-5-21-1-2-3-1001", "S-1-5-21-1-2-3-1002"
USERS, DOMAIN_USERS, CREATOR = "S-1-5-32-545", "S-1-5-21-1-2-3-513", "S-1-3-0"
FULL, MODIFY, READ_ONLY = 0x1F01FF, 0x1301BF, 0x1200A9
PROPER = ((SYSTEM, FULL), (ADMINISTRATORS, FULL), (KISI, MODIFY))


def sid(text: str) -> bytes:
    revision, authority, *parts = (int(each) for each in text.split("-")[1:])
    head = struct.pack("BB", revision, len(parts)) + authority.to_bytes(6, "big")
    return head + struct.pack(f"<{len(parts)}I", *parts)


def descriptor(owner: str, entries: list[tuple[int, int, str]] | None) -> bytes:
    """As Windows hands it over: kinds of entries, rights and identifiers."""
    name = sid(owner)
    aces = [
        struct.pack("<BBHI", kind, 3, 8 + len(sid(who)), rights) + sid(who)
        for kind, rights, who in entries or ()
    ]
    acl = struct.pack("<BBHHH", 2, 0, 8 + sum(map(len, aces)), len(aces), 0) + b"".join(aces)
    at = 20 + len(name) if entries is not None else 0
    head = struct.pack("<BBHIIII", 1, 0, 0x8004, 20, 0, 0, at)
    return head + name + (acl if at else b"")


def test_a_descriptor_of_windows_is_read():
    """This one is a real one: SYSTEM and the owner may do everything, everybody may read."""
    raw = (
        "0100048014000000000000000000000030000000010500000000000515000000000000000000000000000000"
        "e8030000020054000300000000001400ff011f0001010000000000051200000000002400ff011f0001050000"
        "0000000515000000000000000000000000000000e803000000001400a9001200010100000000000100000000"
    )
    owner = "S-1-5-21-0-0-0-1000"
    expected = Access(owner, ((SYSTEM, FULL), (owner, FULL), (EVERYONE, READ_ONLY)))
    assert Access.parse(bytes.fromhex(raw)) == expected


def test_what_is_denied_first_is_not_had():
    raw = descriptor(KISI, [(1, READ_ONLY, USERS), (0, FULL, USERS), (17, 1, EVE), (9, 1, EVE)])
    assert Access.parse(raw).entries == ((USERS, FULL & ~READ_ONLY), (EVE, 1))


def test_no_list_at_all_lets_everybody_in():
    access = Access.parse(descriptor(KISI, None))
    assert others(access, Asker(KISI), READ) == (KISI, (EVERYONE,))
    assert others(Access.parse(descriptor(KISI, [])), Asker(KISI), READ) == (KISI, ())


@pytest.mark.parametrize(
    ("owner", "more", "rights", "strangers"),
    [
        (KISI, [], READ | WRITE, ()),
        (ADMINISTRATORS, [(CREATOR, FULL)], READ | WRITE, ()),
        (KISI, [(USERS, READ_ONLY)], READ, (USERS,)),
        (KISI, [(USERS, READ_ONLY)], WRITE, ()),
        (KISI, [(EVERYONE, 0x2), (DOMAIN_USERS, 0x40000)], WRITE, (EVERYONE, DOMAIN_USERS)),
        (KISI, [(EVE, 0x80000000)], READ, (EVE,)),
        (KISI, [(EVE, 0x10000000)], WRITE, (EVE,)),
        (KISI, [(EVE, 0x10000)], WRITE, (EVE,)),
        (KISI, [(EVE, 0x100080)], READ | WRITE, ()),  # to look at its attributes
        (EVE, [], READ, (EVE,)),  # who owns a file can let himself in
    ],
)
def test_who_beside_the_account_system_and_administrators(owner, more, rights, strangers):
    access = Access(owner, (*PROPER, *more))
    assert others(access, Asker(KISI), rights) == (KISI, strangers)


def test_an_administrator_who_asks_is_not_told_to_shut_kisis_own_account_out():
    boss = Asker("S-1-5-21-1-2-3-500", is_administrator=True)
    assert others(Access(ADMINISTRATORS, PROPER), boss, READ) == (KISI, ())
    also_users = Access(KISI, (*PROPER, (USERS, READ_ONLY)))
    assert others(also_users, boss, READ) == (KISI, (USERS,))
    two = Access(KISI, (*PROPER, (EVE, READ_ONLY)))
    assert others(two, boss, READ) == (boss.sid, (KISI, EVE))


def test_the_remedy_leaves_three_in_and_nobody_else():
    access = Access(KISI, (*PROPER, (USERS, READ_ONLY)))
    path = Path("a folder")
    assert icacls(path, access, KISI, (USERS,), is_folder=False) == (
        '`icacls "a folder" /inheritance:r /grant:r "*S-1-5-18:F" "*S-1-5-32-544:F"'
        f' "*{KISI}:F" /remove *S-1-5-32-545`'
    )
    owned = icacls(path, Access(EVE, PROPER), KISI, (EVE,), is_folder=True)
    assert owned.startswith('`icacls "a folder" /setowner *S-1-5-32-544`, then `icacls "a folder"')
    assert f'"*{KISI}:(OI)(CI)F" /remove *{EVE}`' in owned


def test_the_state_stays_where_a_journal_is_and_two_are_an_error(tmp_path):
    machine, own = tmp_path / "machine", tmp_path / "own"
    assert state_dir_of(machine, own) == machine
    for folder, expected in ((own, own), (machine, None)):
        folder.mkdir()
        (folder / "journal.db").touch()
        if expected:
            assert state_dir_of(machine, own) == expected
    with pytest.raises(StateError, match="two journals") as refused:
        state_dir_of(machine, own)
    assert refused.value.exit_code is ExitCode.STATE
    (own / "journal.db").unlink()
    assert state_dir_of(machine, own) == machine


if sys.platform == "win32":
    import ctypes

    from kisi import secrets
    from kisi.config.load import _zone_name, default_state_dir, system_zone
    from kisi.windows import account_name, asker, console_events, exposed, open_to_others

    def protect(path: Path, entries: str) -> None:
        """Sets a file's access list: who runs this, and what `entries` (SDDL) say."""
        text = f"D:P(A;OICI;FA;;;{asker().sid}){entries}"
        advapi32, raw = ctypes.WinDLL("advapi32"), ctypes.c_void_p()
        convert = advapi32.ConvertStringSecurityDescriptorToSecurityDescriptorW
        assert convert(text, 1, ctypes.byref(raw), None)
        assert advapi32.SetFileSecurityW(str(path), 4, raw)

    def test_a_secret_that_everybody_can_read_is_refused_with_the_command(tmp_path):
        secret = tmp_path / "hq password"
        secret.write_text("tr0ub4dor")
        protect(secret, "(A;;FR;;;WD)")
        everyone = account_name(EVERYONE)
        with pytest.raises(ConfigError) as refused:
            secrets.resolve("file:hq password", base=tmp_path)
        (problem,) = refused.value.problems
        assert f"is open to {everyone}. Run `icacls " in problem
        assert "/remove *S-1-1-0`" in problem
        protect(secret, "")
        assert secrets.resolve("file:hq password", base=tmp_path) == "tr0ub4dor"

    def test_files_and_the_state_folder_are_judged_by_their_lists(tmp_path):
        file, state = tmp_path / "kisi.toml", tmp_path / "state"
        file.touch()
        state.mkdir()
        for path in (tmp_path, file, state):
            protect(path, "")
        assert list(open_to_others([file, tmp_path / "missing"], state)) == []
        protect(file, "(A;;FA;;;WD)")
        protect(state, "(A;OICI;FR;;;WD)")
        said = [finding.message for finding in open_to_others([file, file], state)]
        everyone = account_name(EVERYONE)
        assert said == [
            f"{everyone} can change {file}.",
            f"{everyone} can use the state folder {state}, where clients are named.",
        ]
        assert exposed(tmp_path / "missing", READ) is None

    @pytest.mark.parametrize("event", [2, 5, 6], ids=["closed", "logged off", "shut down"])
    def test_the_end_of_a_console_is_heard_and_its_handler_never_returns(event):
        """Windows ends the process when it does; `tests/faults/test_console.py` sends the events."""
        heard: list[int] = []
        with console_events(lambda number, _: heard.append(number)) as handle:
            assert handle(0) is False  # ^C is Python's own
            assert handle(1) is True
            ended = threading.Thread(target=handle, args=[event], daemon=True)
            ended.start()
            ended.join(0.5)
            assert ended.is_alive()
        assert heard == [1, event]

    def test_the_zone_is_windows_own_by_its_iana_name():
        assert _zone_name("W. Europe Standard Time") == "Europe/Berlin"
        assert _zone_name("Europe/Vienna") == "Europe/Vienna"
        assert isinstance(system_zone(), ZoneInfo)
        assert datetime(2050, 7, 1, 12, tzinfo=UTC).astimezone(system_zone()).year == 2050

    def test_the_default_state_folder_is_the_machines():
        assert default_state_dir() == Path(os.environ["PROGRAMDATA"], "kisi")
