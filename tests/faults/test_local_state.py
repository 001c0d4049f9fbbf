"""The state folder, the lock, the files: whatever happens to them, a PSA line is old or right."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from kisi import files
from kisi.journal import schema, store
from kisi.mapping.file import ConfigNames, MappingEditor
from kisi.run import setup
from tests.conftest import WINDOWS, posix_modes
from tests.e2e.conftest import Operator, Result
from tests.e2e.test_parts import BY_PSA, Fleet
from tests.faults.conftest import CREATE, UPDATE, Trial, trouble

STATE = 8
NOBODY = 65534
"""The user that owns nothing."""

# --- the disk -------------------------------------------------------------------------------------


_STORES = ("INSERT ON run", "UPDATE ON run", "INSERT ON operation", "UPDATE ON operation")


class Disk:
    """A disk that is full from one moment to another, as SQLite meets it: no page can be added.

    Whatever the journal stores of runs and operations needs a new page here, as on a real disk
    every commit needs new space in the log.
    """

    def __init__(self) -> None:
        self._full = False
        self._connections: list[sqlite3.Connection] = []

    def opened(self, connection: sqlite3.Connection) -> sqlite3.Connection:
        """Takes a new connection under control; one that only reads needs no space."""
        with suppress(sqlite3.OperationalError):
            connection.execute("CREATE TABLE IF NOT EXISTS ballast (weight)")
            for event in _STORES:
                connection.execute(
                    f'CREATE TEMP TRIGGER "{event}" BEFORE {event} '
                    "BEGIN INSERT INTO ballast VALUES (zeroblob(8192)); END"
                )
        self._connections.append(connection)
        self._limit(connection)
        return connection

    def fill(self) -> None:
        """There is no space from now on."""
        self._full = True
        self._limit_all()

    def free(self) -> None:
        """There is space again."""
        self._full = False
        self._limit_all()

    def _limit_all(self) -> None:
        for connection in self._connections:
            with suppress(sqlite3.ProgrammingError):  # it is closed by now
                self._limit(connection)

    def _limit(self, connection: sqlite3.Connection) -> None:
        connection.execute(f"PRAGMA max_page_count = {1 if self._full else 2**30}")


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """The journal's disk. To be asked for before the first run."""
    disk, connect = Disk(), store._connect
    monkeypatch.setattr(store, "_connect", lambda *args: disk.opened(connect(*args)))
    return disk


def tried(trial: Trial, *arguments: str) -> Result:
    """A `kisi sync` that cannot use its journal."""
    result = trial.operator.run("sync", "-vv", *arguments)
    trial.results.append(result)
    assert result.code == STATE, result.err
    assert "Error: " in result.err
    assert "To do: " in result.err
    return result


@pytest.mark.fault(
    43,
    injection="the disk is full before the run",
    outcome="exit 8 before anything is written; with space again everything is billed",
)
def test_a_full_disk_stops_a_run_before_it_writes(disk: Disk, billed: Trial):
    disk.fill()

    result = tried(billed)

    assert result.writes == []
    assert billed.contoso.quantities == {billed.product: 6}
    assert "the disk or the quota is full" in result.err
    assert "Free space, then run kisi again" in result.err
    disk.free()
    billed.heals()


@pytest.mark.fault(
    43,
    injection="the disk is full when an outcome is to be stored",
    outcome="exit 8; the outcome goes to stderr, nothing more is sent; the next run settles it",
)
@pytest.mark.parametrize("match", [CREATE, UPDATE])
def test_an_outcome_that_cannot_be_stored_is_printed_and_ends_the_run(
    disk: Disk, trial: Trial, match: str
):
    if match == UPDATE:
        trial.bill()
        trial.fabrikam.add_devices()
    trial.configure('kind = "connectwise"', 'kind = "connectwise"\nworkers = 1')
    trial.fault("call", match, function=disk.fill)

    result = tried(trial)

    (line,) = [line for line in result.err.splitlines() if line.startswith('{"')]
    told = json.loads(line)
    assert told["kisi"] == "outcome not journaled"
    assert (told["name"], told["outcome"]) == ("Contoso", "applied")
    assert result.err.count("Error: ") == 1
    assert "the disk or the quota is full" in result.err
    assert len(result.writes) == 1
    assert trial.contoso.quantities == {trial.product: len(trial.contoso.devices())}
    assert trial.fabrikam.quantities == ({trial.product: 3} if match == UPDATE else {})
    (pending,) = trial.pending()
    assert (pending.outcome, pending.line.after) == (None, told["after"])

    disk.free()
    again = trial.sync()
    assert again.code == 0, again.err
    assert "did not record its end" in again.err
    assert len(again.writes) == 1, "only Fabrikam's is still to be written"
    trial.heals()


# --- a folder that cannot be used -----------------------------------------------------------------


@contextmanager
def ordinary_user(folder: Path) -> Iterator[None]:
    """Inside, kisi runs as a user without privileges who owns `folder`."""
    if os.geteuid() != 0:
        yield
        return
    for path in (folder, *folder.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        for path in (folder, *folder.rglob("*")):
            os.chown(path, 0, 0)


@pytest.fixture
def shared(billed: Trial, tmp_path: Path) -> Iterator[Trial]:
    """The files are where every user may look."""
    place = Path(tempfile.mkdtemp(prefix="kisi-"))
    place.chmod(0o755)
    billed.operator.folder.rename(place / "kisi")
    billed.operator.folder = place / "kisi"
    billed.operator.by_hand()
    home = tmp_path / "moved"
    yield billed
    billed.operator.folder.rename(home)
    billed.operator.folder = home
    place.rmdir()


def _read_only_journal(state: Path) -> None:
    (state / "journal.db").chmod(0o400)


def _read_only_folder(state: Path) -> None:
    for log in state.glob("journal.db-*"):
        log.unlink()
    state.chmod(0o500)


def _no_folder(state: Path) -> None:
    shutil.rmtree(state)
    state.parent.chmod(0o500)


def _a_file_instead(state: Path) -> None:
    shutil.rmtree(state)
    state.write_text("")


def _of_another_user(state: Path) -> None:
    for path in state.rglob("*"):
        path.chmod(0)


@pytest.mark.fault(
    44,
    injection="the state folder or journal is read-only, foreign, missing, or no folder",
    outcome="exit 8 before anything is read; healed with the rights",
)
@posix_modes
@pytest.mark.parametrize(
    "spoil", [_read_only_journal, _read_only_folder, _no_folder, _a_file_instead, _of_another_user]
)
def test_without_a_journal_to_write_nothing_is_even_read(
    shared: Trial, spoil: Callable[[Path], None]
):
    state = shared.operator.state
    kept = shutil.copytree(state, state.with_name("kept"))

    with ordinary_user(shared.operator.folder):
        spoil(state)
        result = tried(shared)
        state.parent.chmod(0o700)

    assert result.requests == ()
    assert str(state) in result.err
    assert shared.contoso.quantities == {shared.product: 6}
    if state.is_dir():
        state.chmod(0o700)
        shutil.rmtree(state)
    else:
        state.unlink(missing_ok=True)
    kept.rename(state)
    shared.heals()


# --- a journal that is none any more --------------------------------------------------------------


def _random(journal: Path) -> None:
    journal.write_bytes(bytes(range(256)) * 400)


def _truncated(journal: Path) -> None:
    content = journal.read_bytes()
    journal.write_bytes(content[: len(content) // 2])


def _empty(journal: Path) -> None:
    journal.write_bytes(b"")


def _flipped(journal: Path) -> None:
    content = bytearray(journal.read_bytes())
    for page in range(1, len(content) // 4096):
        content[page * 4096 : page * 4096 + 64] = bytes(64)
    journal.write_bytes(content)


def _without_tables(journal: Path) -> None:
    with closing(sqlite3.connect(journal)) as database:
        database.execute("DROP TABLE operation")
        database.commit()


@pytest.mark.fault(
    45,
    injection="the journal is overwritten, truncated, emptied, half zero, or lacks a table",
    outcome="set aside, exit 8 until `check --repair`; then lines that are right are owned again",
)
@pytest.mark.parametrize("spoil", [_random, _truncated, _empty, _flipped, _without_tables])
def test_a_damaged_journal_is_set_aside_and_stops_every_run(
    billed: Trial, spoil: Callable[[Path], None]
):
    spoil(billed.operator.state / "journal.db")

    for _ in range(2):
        result = tried(billed)
        assert result.requests == ()
        assert "kisi check --repair" in result.err
        assert "Nothing is written to any PSA" in result.err
    assert list(billed.operator.state.glob("journal.corrupt-*.db"))

    shown = billed.operator.run("status")
    assert shown.code == STATE
    assert "The journal was damaged" in shown.err
    looked = billed.operator.run("preview", "--json")
    assert (looked.code, looked.writes) == (STATE, [])
    assert billed.operator.run("check", "--repair").code == 0
    assert list(billed.operator.state.glob("journal.acknowledged-*.db"))

    held = billed.sync()
    assert trouble(held, "Contoso").guard == "adopt"
    assert billed.contoso.quantities == {billed.product: 6}
    billed.heals(accept=True)
    for damaged in billed.operator.state.glob("journal.acknowledged-*"):
        damaged.unlink()  # nothing can be looked for in it


@pytest.mark.fault(
    45,
    injection="the journal is another program's database",
    outcome="left alone, exit 8, nothing read",
)
def test_another_programs_database_is_left_alone(billed: Trial):
    journal = billed.operator.state / "journal.db"
    kept = journal.read_bytes()
    journal.unlink()
    with closing(sqlite3.connect(journal)) as database:
        database.execute("CREATE TABLE customers (name)")
        database.commit()
    foreign = journal.read_bytes()

    result = tried(billed)

    assert result.requests == ()
    assert "is a database of another program; kisi left it alone" in result.err
    assert journal.read_bytes() == foreign
    journal.write_bytes(kept)
    billed.heals()


def with_versions(monkeypatch: pytest.MonkeyPatch, migrations: Sequence[str]) -> None:
    """From now on kisi is one that knows these versions of the journal."""
    monkeypatch.setattr(schema, "MIGRATIONS", tuple(migrations))


NEXT = "ALTER TABLE run ADD COLUMN weather TEXT NOT NULL DEFAULT '';"


@pytest.mark.fault(
    63,
    injection="kisi is upgraded, and the journal has a new version",
    outcome="migrated, with a copy from before; the first run goes on where the last one ended",
)
def test_an_older_journal_is_migrated_with_a_backup(billed: Trial, monkeypatch: pytest.MonkeyPatch):
    with_versions(monkeypatch, [*schema.MIGRATIONS, NEXT])

    result = billed.sync()

    assert (result.code, len(result.writes)) == (0, 1)
    assert billed.contoso.quantities == {billed.product: 8}
    version = len(schema.MIGRATIONS)
    backup = billed.operator.state / f"journal.before-v{version}.db"
    with closing(sqlite3.connect(backup)) as database:
        assert database.execute("PRAGMA quick_check").fetchone() == ("ok",)
        assert database.execute("PRAGMA user_version").fetchone() == (version - 1,)
        assert database.execute("SELECT count(*) FROM run").fetchone() == (1,)
    assert WINDOWS or backup.stat().st_mode & 0o077 == 0
    billed.heals()


@pytest.mark.fault(
    63,
    injection="kisi is downgraded: the journal is of a newer version",
    outcome="exit 8, nothing read or written, the journal as it was; so do preview and status",
)
@pytest.mark.parametrize("command", ["sync", "preview", "status"])
def test_a_newer_journal_is_refused(billed: Trial, monkeypatch: pytest.MonkeyPatch, command: str):
    with monkeypatch.context() as newer:
        with_versions(newer, [*schema.MIGRATIONS, NEXT])
        assert billed.sync().code == 0
    billed.contoso.add_devices()
    journal = billed.operator.state / "journal.db"
    before = journal.read_bytes()

    result = billed.operator.run(command)

    assert (result.code, result.requests) == (STATE, ())
    assert "was written by a newer kisi (version" in result.err
    assert "Install the newer kisi again" in result.err
    assert journal.read_bytes() == before
    with_versions(monkeypatch, [*schema.MIGRATIONS, NEXT])
    billed.heals()


# --- two at once ----------------------------------------------------------------------------------


class Gate:
    """Keeps a run in the middle of a request until it is let through."""

    def __init__(self, trial: Trial, match: str) -> None:
        self._reached, self._open = threading.Event(), threading.Event()
        trial.fault("call", match, function=self._wait)

    def _wait(self) -> None:
        self._reached.set()
        assert self._open.wait(60)

    def reached(self) -> None:
        """Waits until the run has come here."""
        assert self._reached.wait(60)

    def let_through(self) -> None:
        """Opens it."""
        self._open.set()


@pytest.mark.fault(
    46,
    injection="`sync` starts while another one writes; `preview` and `status` too",
    outcome="75 at once, naming the run that holds the lock; the others work; every write once",
)
def test_a_second_sync_ends_at_once_and_preview_goes_on(live: Trial):
    gate = Gate(live, CREATE)
    live.operator.ends_sessions = False
    with live.process("sync") as first:
        gate.reached()

        second = live.operator.run("sync")
        preview = live.operator.run("preview", "--json")
        status = live.operator.run("status", "--json")

        gate.let_through()
        assert first.end().code == 0

    assert (second.code, second.sent_to("ksc")) == (75, [])
    assert f"(process {first.pid} on " in second.err
    assert "This run did nothing." in second.err
    assert "--lock-timeout" in second.err
    assert live.operator.slept == []
    assert (preview.code, preview.writes) == (0, [])
    assert json.loads(status.out)["runs"][0]["state"] == "running"
    assert len(live.sandbox.writes) == 2
    live.operator.ends_sessions = True
    live.heals()


@pytest.mark.fault(
    46,
    injection="two `sync` start at the same moment, the second with --lock-timeout",
    outcome="the second waits for the first, finds everything right and writes nothing",
)
def test_a_second_sync_may_wait_for_the_first(live: Trial):
    gate = Gate(live, CREATE)
    with live.process("sync") as first:
        gate.reached()
        with live.process("sync", "--lock-timeout", "60", "-v") as second:
            gate.let_through()
            assert first.end().code == 0
            assert second.end().code == 0

    assert len(live.sandbox.writes) == 2
    live.heals()


@pytest.mark.fault(
    47,
    injection="kill -9 leaves the lock file and the holder's word behind",
    outcome="the next run takes the lock at once",
)
def test_the_lock_of_a_killed_run_is_free_at_once(live: Trial):
    gate = Gate(live, CREATE)
    with live.process("sync") as killed:
        gate.reached()
        killed.kill()
        killed.end()
    gate.let_through()
    live.sandbox.ksc.sessions.open.clear()
    state = live.operator.state
    assert json.loads((state / "kisi.lock.json").read_text())["pid"] == killed.pid

    assert live.states() == ["crashed"]
    _comes(lambda: live.contoso.additions and live.fabrikam.additions)
    again = live.sync()
    if again.code == 6:  # of an intent without a request nobody can tell that there was none
        assert set(again.holds("Fabrikam").values()) <= {"deleted"}
        live.sync("--accept", again.document["plan_id"])
    live.heals()
    assert [len(one.additions) for one in (live.contoso, live.fabrikam)] == [1, 1]


def _comes(something: Callable[[], object]) -> bool:
    """Waits for what another thread does: the creates that were under way reach ConnectWise."""
    ends = time.monotonic() + 3
    while not something() and time.monotonic() < ends:
        time.sleep(0.01)
    return bool(something())


@pytest.mark.fault(
    61,
    injection="a run takes longer than the schedule's interval",
    outcome="the next one ends with 75; the deadline ends the first, and then runs go on",
)
def test_a_run_that_outlasts_the_schedule_is_ended_by_its_deadline(
    billed: Trial, monkeypatch: pytest.MonkeyPatch
):
    scheduled: list[int] = []

    def drag_on() -> None:
        with billed.process("sync") as next_one:
            scheduled.append(next_one.end().code)
        billed.operator.slept.append(120.0)  # every clock of kisi goes on by it

    monkeypatch.setattr(setup, "READING_SHARE", 100.0 / setup.RUN_SECONDS)
    billed.fault("call", "LicenseKeys.EnumKeys@Contoso", function=drag_on)
    busy = billed.fault("status", "LicenseKeys.EnumKeys@Contoso", times=None, code=503)

    result = billed.sync()

    assert (result.code, busy.fired) == (4, 1)
    assert "it is too busy for LicenseKeys.EnumKeys" in result.err
    assert scheduled == [75]
    assert billed.contoso.quantities == {billed.product: 6}
    billed.heals()


# --- two machines ---------------------------------------------------------------------------------


@pytest.mark.fault(
    48,
    injection="two machines with different rules bill the same clients, in turn",
    outcome="one write at most; then both hold or agree, and nobody undoes the other's",
)
@pytest.mark.parametrize("copied", [True, False], ids=["a copy of the state", "no state"])
def test_two_machines_never_fight(billed: Trial, tmp_path: Path, copied: bool):
    """The second counts devices whose activation is pending, the first does not."""
    here, there = billed.operator, Operator(billed.sandbox, tmp_path / "there", clock=None)
    there.more = "[counting]\npending = true\n"
    if copied:
        shutil.copytree(here.state, there.state)
    for use in billed.contoso.first_key.uses[:3]:
        use.pending = True

    results = [operator.sync() for operator in (there, here) * 3]

    billed.results += results
    assert sum(len(result.writes) for result in results) == 1
    assert sum(len(result.writes) for result in results[2:]) == 0
    holds = {trouble(result, "Contoso").guard for result in results[2:] if result.code == 6}
    assert holds == {"drift" if copied else "adopt"}
    assert [result.code for result in results[-2:]] == ([0, 6] if copied else [6, 0])


@pytest.mark.fault(
    48,
    injection="a fleet is split, and the journal of another part is missing or damaged",
    outcome="what begins to bill a tenant is held (`elsewhere`), with an id; what is billed goes on",
)
@pytest.mark.parametrize("state", ["missing", "damaged"])
def test_while_the_journal_of_another_part_cannot_be_read_nothing_begins(live: Trial, state: str):
    fleet = Fleet(live.operator)
    contoso = fleet.world.client("Nordwind", workstations=4)
    fleet.maps(fleet.row(contoso))
    fleet.split(BY_PSA)
    fleet.start("south", "north")
    assert fleet.billed() == {contoso.agreement_id: 4}
    new = fleet.world.client("Adatum", workstations=3)
    fleet.maps(fleet.row(contoso), fleet.row(new))
    contoso.add_devices()
    journal = live.operator.folder / "state-south" / "journal.db"
    journal.rename(journal.with_name("aside"))
    if state == "damaged":
        journal.write_bytes(b"SQLite format 3\0" + b"\1" * 5000)

    held = fleet.sync("north")

    assert held.code == 6
    assert held.holds("Adatum") == {str(fleet.product): "elsewhere"}
    reason = held.company("Adatum")["lines"][0]["hold"]["reason"]
    assert "the journal of another part" in reason
    assert str(live.operator.folder / "south.toml") in reason
    assert fleet.billed() == {contoso.agreement_id: 5}  # it has billed that tenant itself
    assert fleet.sync("north", "--accept", held.company("Adatum")["plan_id"]).code == 0
    assert fleet.billed() == {contoso.agreement_id: 5, new.agreement_id: 3}


# --- the mapping changes under way ----------------------------------------------------------------


def _edited(mapping: Path) -> None:
    text = mapping.read_text(encoding="utf-8")
    mapping.write_text(text.replace('name = "Contoso"', 'name = "Renamed"'), encoding="utf-8")


def _unlinked(mapping: Path) -> None:
    mapping.unlink()


def _half_written(mapping: Path) -> None:
    text = mapping.read_text(encoding="utf-8")
    mapping.write_text(text[: text.index("tenants") + 12], encoding="utf-8")


@pytest.mark.fault(
    49,
    injection="mapping.toml is edited, deleted or half written while a run is under way",
    outcome="the run keeps to what it read, and says so; the next one goes by the new file",
)
@pytest.mark.parametrize("spoil", [_edited, _unlinked, _half_written])
def test_a_run_keeps_to_the_mapping_that_it_read(billed: Trial, spoil: Callable[[Path], None]):
    billed.operator.by_hand()
    mapping = billed.operator.folder / "mapping.toml"
    before = mapping.read_bytes()
    billed.fault("call", "LicenseKeys.EnumKeys@Contoso", function=lambda: spoil(mapping))

    result = billed.sync()

    assert result.code == 0
    assert billed.contoso.quantities == {billed.product: 8}
    assert "mapping.toml was changed while this run was under way" in result.err

    after = billed.operator.run("sync")
    if spoil is _unlinked:
        assert (after.code, after.requests) == (3, ())
        assert "does not exist, and 2 were billed until now. Nothing was read" in after.err
    elif spoil is _half_written:
        assert (after.code, after.requests) == (3, ())
        assert "mapping.toml: the end of the file: A text is not closed" in after.err
        assert "Nothing was sent." in after.err
    else:
        assert "was changed while" not in after.err
        assert (after.code, after.writes) == (0, [])
    mapping.write_bytes(before)
    billed.heals()


# --- the mapping cannot be saved ------------------------------------------------------------------


@pytest.mark.fault(
    51,
    injection="`kisi map` finds the disk full, or mapping.toml held open by another program",
    outcome="exit 8 (after two seconds of tries); the old file is as it was, nothing lies around",
)
@pytest.mark.parametrize(
    ("call", "number", "times"),
    [("os.fsync", errno.ENOSPC, 1), ("Path.replace", errno.EACCES, files._ATTEMPTS)],
)
def test_a_mapping_that_cannot_be_saved_stays_as_it_was(
    billed: Trial, monkeypatch: pytest.MonkeyPatch, call: str, number: int, times: int
):
    tries = []

    def fails(*arguments: object) -> None:
        tries.append(arguments)
        raise OSError(number, os.strerror(number))

    billed.operator.by_hand()
    before = billed.operator.files()
    with monkeypatch.context() as patch:
        patch.setattr(f"kisi.files.{call}", fails)
        patch.setattr(files, "_PAUSE", 0.0)
        result = billed.operator.run("map", "billing", "Contoso", "off", "--offline")

    assert result.code == STATE, result.err
    assert "mapping.toml could not be written" in result.err
    assert "It is as it was before." in result.err
    assert len(tries) == times
    after = billed.operator.files()
    assert after["mapping.toml"] == before["mapping.toml"]
    assert set(after) - set(before) <= {"mapping.toml.bak"}
    billed.heals()


@pytest.mark.fault(
    51,
    injection="`kisi map` is interrupted while it saves",
    outcome="the old file is as it was, or the new one is whole",
)
@pytest.mark.parametrize("call", ["os.fsync", "Path.replace"])
def test_an_interrupted_save_leaves_the_old_mapping(
    billed: Trial, monkeypatch: pytest.MonkeyPatch, call: str
):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    billed.operator.by_hand()
    before = billed.operator.files()
    with monkeypatch.context() as patch:
        patch.setattr(f"kisi.files.{call}", interrupted)
        result = billed.operator.run("map", "billing", "Contoso", "off", "--offline")

    assert result.code == 130
    after = billed.operator.files()
    assert after["mapping.toml"] == before["mapping.toml"]
    assert set(after) - set(before) <= {"mapping.toml.bak"}
    billed.heals()
    mapping = billed.operator.folder / "mapping.toml"
    assert MappingEditor(mapping, ConfigNames(["hq", "hub"], ["cw", "tp"])).mapping.companies
