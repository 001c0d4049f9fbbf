from __future__ import annotations

import os
import re
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from zlib import compress

import pytest

from kisi.errors import ExitCode, StateError, Withheld
from kisi.journal import Journal, OperationOutcome, PackedUsage, database, repair, schema, store
from kisi.model import LineSlot, Outcome
from tests.conftest import WINDOWS, posix_modes, posix_vfs
from tests.unit.journal.builders import (
    begin,
    company,
    confirmed,
    create,
    day,
    end,
    files,
    line,
    outcome,
    usage,
)

LATEST = len(schema.MIGRATIONS)
NEXT = (*schema.MIGRATIONS, "ALTER TABLE run ADD COLUMN host TEXT;")
COPY = f"journal.before-v{LATEST + 1}.db"
BROKEN = (*schema.MIGRATIONS, "CREATE TABLE extra (id); ALTER TABLE nothing ADD COLUMN host;")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A state folder after one run, with one line and one pending operation in its journal."""
    state = tmp_path / "state"
    with Journal.open(state) as journal:
        run = begin(journal)
        journal.confirm(run, day(1), [confirmed(90)])
        journal.intent(run, day(1), create(product="1202"), company())
    return state


@contextmanager
def not_root() -> Iterator[None]:
    """Rights bind everyone but root: act as nobody where the tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def foreign() -> Iterator[Path]:
    """A sound journal in a folder that everybody may look at and only its owner may change."""
    with tempfile.TemporaryDirectory() as name:
        state = Path(name) / "state"
        with Journal.open(state) as journal:
            end(journal, begin(journal))
        for path, mode in ((Path(name), 0o755), (state, 0o555), (state / "journal.db", 0o444)):
            path.chmod(mode)
        yield state
        state.chmod(0o755)


@contextmanager
def knowing(migrations: Sequence[str]) -> Iterator[None]:
    """A kisi that knows these versions of the journal."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", migrations)
        yield


def pragma(path: Path, name: str) -> object:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"PRAGMA {name}").fetchone()[0]


# --- a sound journal


@posix_modes
def test_folder_and_journal_are_made_for_their_owner_alone(tmp_path: Path) -> None:
    state = tmp_path / "a" / "state"
    with Journal.open(state) as journal:
        begin(journal)
        modes = {file.name: file.stat().st_mode & 0o777 for file in state.iterdir()}

    assert state.stat().st_mode & 0o777 == 0o700
    assert modes == {"journal.db": 0o600, "journal.db-wal": 0o600, "journal.db-shm": 0o600}
    assert files(state) == ["journal.db"]


def test_a_commit_survives_a_power_loss_by_its_settings(folder: Path) -> None:
    with Journal.open(folder) as db:
        assert [*db._rows("PRAGMA journal_mode")[0]] == ["wal"]
        assert [*db._rows("PRAGMA synchronous")[0]] == [2]
        assert [*db._rows("PRAGMA foreign_keys")[0]] == [1]


@posix_vfs
def test_a_drive_without_shared_memory_gets_a_rollback_journal(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = store._connect
    monkeypatch.setattr(
        store, "_connect", lambda path, options: connect(path, f"{options}&vfs=unix-dotfile")
    )
    for _ in range(2):
        with Journal.open(folder) as db:
            assert [*db._rows("PRAGMA journal_mode")[0]] == ["delete"]
            assert [*db._rows("PRAGMA synchronous")[0]] == [3]
            with db._transaction():
                db._execute("UPDATE run SET message = 'stored'")
    assert files(folder) == ["journal.db"]


def test_closing_twice_is_fine(folder: Path) -> None:
    journal = Journal.open(folder)
    journal.close()
    journal.close()


# --- reading


def test_reading_a_missing_journal_is_reading_an_empty_one_and_creates_nothing(
    tmp_path: Path,
) -> None:
    for state in (tmp_path / "none", tmp_path):
        with Journal.open(state, readonly=True) as journal:
            assert journal.facts(day(1), 30) == ()
            assert journal.pending() == ()
            assert journal.last_runs() == ()
            assert journal.problem is None
    assert files(tmp_path) == []


def test_a_reader_sees_what_is_committed_while_a_run_writes_and_cannot_write(
    folder: Path,
) -> None:
    with Journal.open(folder) as writer, Journal.open(folder, readonly=True) as reader:
        assert len(reader.pending()) == 1
        failed = OperationOutcome(Outcome.FAILED)
        writer.settle(writer.pending()[0], begin(writer, 2), day(2), failed)

        assert reader.pending() == ()
        with pytest.raises(StateError, match="cannot be written"):
            begin(reader, 3)


@posix_modes
def test_a_folder_that_may_only_be_read_is_readable_and_refuses_a_run(foreign: Path) -> None:
    with not_root():
        with Journal.open(foreign, readonly=True) as journal:
            assert len(journal.last_runs()) == 1
        with pytest.raises(StateError) as refused:
            Journal.open(foreign)

    assert str(foreign / "journal.db") in refused.value.message
    assert "own the folder" in refused.value.remedy
    assert files(foreign) == ["journal.db"]


@posix_modes
def test_a_folder_that_may_not_even_be_read_is_refused_for_reading_too(foreign: Path) -> None:
    (foreign / "journal.db").chmod(0o000)
    with not_root(), pytest.raises(StateError, match="cannot be opened"):
        Journal.open(foreign, readonly=True)
    foreign.parent.chmod(0o000)
    with not_root(), pytest.raises(StateError, match="Permission denied"):
        Journal.open(foreign, readonly=True)


@posix_modes
def test_a_log_that_cannot_be_read_along_is_never_left_out(foreign: Path) -> None:
    foreign.chmod(0o755)
    (foreign / "journal.db-wal").touch(0o444)
    foreign.chmod(0o555)

    with not_root(), pytest.raises(StateError, match="cannot be opened"):
        Journal.open(foreign, readonly=True)


def test_what_a_creation_that_was_cut_short_left_behind_is_cleared(tmp_path: Path) -> None:
    for name in ("journal.new.db", "journal.new.db-journal"):
        (tmp_path / name).write_bytes(b"half")

    Journal.open(tmp_path).close()
    assert files(tmp_path) == ["journal.db"]


@pytest.mark.parametrize("readonly", [False, True])
def test_a_file_in_the_folders_place_is_refused_with_what_to_do(
    tmp_path: Path, readonly: bool
) -> None:
    state = tmp_path / "state"
    state.write_text("")
    if readonly:
        with Journal.open(state, readonly=True) as journal:
            assert journal.last_runs() == ()
        return

    with pytest.raises(StateError) as refused:
        Journal.open(state)
    assert refused.value.exit_code is ExitCode.STATE
    assert str(state) in refused.value.message
    assert "state_dir" in refused.value.remedy


def test_a_folder_in_the_journals_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "journal.db").mkdir()
    refused = re.escape(f"journal {tmp_path / 'journal.db'} cannot be used")

    for readonly in (False, True):
        with pytest.raises(StateError, match=refused):
            Journal.open(tmp_path, readonly=readonly)


# --- versions


def test_an_older_journal_is_migrated_after_a_copy_was_kept(folder: Path) -> None:
    with knowing(NEXT), Journal.open(folder) as db:
        assert len(db._rows("SELECT host FROM run")) == 1

    copy = folder / COPY
    assert files(folder) == [COPY, "journal.db"]
    assert pragma(copy, "user_version") == LATEST
    assert pragma(folder / "journal.db", "user_version") == LATEST + 1
    assert WINDOWS or copy.stat().st_mode & 0o777 == 0o600
    with knowing(NEXT), Journal.open(folder) as db:
        assert len(db._rows("SELECT id FROM operation")) == 1


def first_release(folder: Path, version: int) -> None:
    """A journal of an older kisi, with a line, a reading, a hold, and ids that were used."""
    packed = PackedUsage.of(usage(devices=90))
    lines = (
        b'[{"psa":"cw","company":"201","agreement":"1001","application":"KES Advanced",'
        b'"categories":["windows_workstations"],"product":"1201","line_id":"7","action":"update",'
        b'"before":"90","after":40,"formerly":"KES","hold":{"guard":"decrease","reason":"half",'
        b'"remedy":"{accept}"}}]'
    )
    with (
        knowing(schema.MIGRATIONS[:version]),
        Journal.open(folder) as db,
        db._transaction(),
    ):
        db._execute(
            "INSERT INTO run (id, at, version, command, config_hash, plan_scope, state)"
            " VALUES (3, 0, '1', 'sync', '', '', 'finished'), (4, 0, '1', 'sync', '', '', 'finished')"
        )
        db._execute(
            "INSERT INTO client (id, psa, agreement, company, name)"
            " VALUES (1, 'cw', '1001', '201', 'Client 1')"
        )
        db._execute(
            "INSERT INTO line (id, client, line_id, product, application, categories, name,"
            " tenants, current) VALUES (1, 1, '7', '1201', 'KES Advanced', 'windows_workstations',"
            " 'Client 1', ?, NULL)",
            database.dumps(company().tenants),
        )
        db._execute("INSERT INTO line_quantity VALUES (1, 1, '90', 3, 0, 4, ?)", day(1))
        db._execute("UPDATE line SET current = 1")
        db._execute(
            "INSERT INTO operation (key, run, at, client, company, name, tenants, application,"
            " categories, product, action, after)"
            " VALUES ('1:', 4, 0, 1, '2', 'C', '[]', 'KES', 'all', '1200', 'create', '5')"
        )
        db._execute("INSERT INTO content VALUES (1, ?, ?)", packed.fingerprint, packed.body)
        db._execute(
            "INSERT INTO usage VALUES (1, 1, ?, 1, 3, ?, 4, ?)", str(packed.tenant), day(1), day(1)
        )
        db._execute("INSERT INTO plan VALUES ('77b0e1c2', 1, 4, 0, 4, 0, 1, ?)", compress(lines))
        db._execute("INSERT INTO used_id VALUES ('99', 3, ?, 'anna')", day(1))
        db._execute("INSERT INTO accept VALUES (1, '1201', 2)")


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("readonly", [True, False])
def test_a_journal_of_the_first_release_goes_on_as_it_is(
    tmp_path: Path, version: int, readonly: bool
) -> None:
    first_release(tmp_path, version)
    assert pragma(tmp_path / "journal.db", "user_version") == version

    with Journal.open(tmp_path, readonly=readonly) as journal:
        (operation,) = journal.pending()
        assert operation.outcome is None
        (fact,) = journal.facts(day(2), 30)
        assert (fact.line_id, fact.confirmed, fact.proven) == ("7", 90, 4)
        assert journal.accepted() == frozenset()
        assert journal.accept_counts() == {LineSlot("cw", "1001", "1201"): 2}
        (reading,) = journal.readings(4).values()
        assert reading.whole() == usage(devices=90)
        assert journal.readings(2) == {}
        (hold,) = journal.open_holds()
        assert (hold.plan_id, hold.lines[0].after, hold.lines[0].hold.key) == ("77b0e1c2", 40, "")
        with pytest.raises(Withheld, match="99 was accepted before, by anna"):
            journal.refuse_used("99")


@pytest.mark.parametrize("version", [1, 2, 3, 4, 5, 6, 7])
def test_it_is_brought_to_the_current_version_after_a_copy_was_kept(
    tmp_path: Path, version: int
) -> None:
    first_release(tmp_path, version)
    with Journal.open(tmp_path) as journal:
        run = begin(journal, 2)
        journal.accept("77b0e1c2", run, day(2), "anna", {"a key": company()})

    assert files(tmp_path) == [f"journal.before-v{LATEST}.db", "journal.db"]
    assert pragma(tmp_path / f"journal.before-v{LATEST}.db", "user_version") == version
    assert pragma(tmp_path / "journal.db", "user_version") == LATEST == 10
    with Journal.open(tmp_path) as journal:
        assert journal.accepted() == {"a key"}
        journal.use_accepted([], [(company(), ())])
        assert journal.accepted() == frozenset()


def test_a_migration_that_fails_leaves_the_journal_as_it_was(folder: Path) -> None:
    with knowing(BROKEN), pytest.raises(sqlite3.OperationalError, match="nothing"):
        Journal.open(folder)

    with Journal.open(folder) as journal:
        assert len(journal.pending()) == 1
    assert pragma(folder / "journal.db", "user_version") == LATEST


def test_a_migration_without_its_copy_does_not_begin(folder: Path) -> None:
    (folder / f"{COPY}.part").mkdir()

    with knowing(NEXT), pytest.raises(StateError, match=re.escape(str(folder))):
        Journal.open(folder)
    assert pragma(folder / "journal.db", "user_version") == LATEST


def test_an_older_journal_is_read_as_if_migrated_and_left_alone(folder: Path) -> None:
    with knowing(NEXT), Journal.open(folder, readonly=True) as db:
        assert len(db._rows("SELECT host FROM run")) == 1

    assert pragma(folder / "journal.db", "user_version") == LATEST
    assert COPY not in files(folder)


@pytest.mark.parametrize("readonly", [False, True])
def test_a_newer_journal_is_refused_and_left_alone(folder: Path, readonly: bool) -> None:
    with knowing(NEXT):
        Journal.open(folder).close()
    before = (folder / "journal.db").read_bytes()

    with pytest.raises(StateError, match="written by a newer kisi") as refused:
        Journal.open(folder, readonly=readonly)
    assert COPY in refused.value.remedy
    assert (folder / "journal.db").read_bytes() == before


@pytest.mark.parametrize("readonly", [False, True])
def test_another_programs_database_is_refused_and_left_alone(
    tmp_path: Path, readonly: bool
) -> None:
    with closing(sqlite3.connect(tmp_path / "journal.db")) as connection:
        connection.execute("CREATE TABLE bookmarks (url)")
    before = (tmp_path / "journal.db").read_bytes()

    with pytest.raises(StateError, match="database of another program"):
        Journal.open(tmp_path, readonly=readonly)
    assert (tmp_path / "journal.db").read_bytes() == before
    with pytest.raises(StateError, match="database of another program"):
        repair(tmp_path)


# --- damage


def random_bytes(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 40)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def torn_page(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        (page,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'operation'"
        ).fetchone()
        (length,) = connection.execute("PRAGMA page_size").fetchone()
    content = bytearray(path.read_bytes())
    content[(page - 1) * length : page * length] = b"\xff" * length
    path.write_bytes(content)


def without_a_table(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE operation")


@pytest.mark.parametrize("harm", [random_bytes, emptied, cut, torn_page, without_a_table])
def test_a_damaged_journal_is_set_aside_and_stops_every_run_until_acknowledged(
    folder: Path, harm: object
) -> None:
    path = folder / "journal.db"
    harm(path)  # type: ignore[operator]
    os.utime(path, (day(2).timestamp(), day(2).timestamp()))
    harmed = path.read_bytes()

    with pytest.raises(StateError, match=r"was damaged \(") as first:
        Journal.open(folder)
    assert "kisi check --repair" in first.value.remedy
    aside = folder / "journal.corrupt-20261103T030000Z.db"
    assert aside.read_bytes() == harmed
    assert not path.exists()
    with pytest.raises(StateError, match=aside.name):
        Journal.open(folder)
    with Journal.open(folder, readonly=True) as journal:
        assert journal.last_runs() == ()
        assert journal.problem
        assert aside.name in journal.problem.message

    (kept,) = repair(folder)
    assert kept.name == "journal.acknowledged-20261103T030000Z.db"
    assert kept.read_bytes() == harmed
    with Journal.open(folder) as journal:
        assert begin(journal) == 1
    assert repair(folder) == ()


@pytest.mark.parametrize("harm", [random_bytes, emptied, cut, without_a_table])
def test_reading_a_damaged_journal_shows_an_empty_one_says_so_and_moves_nothing(
    folder: Path, harm: object
) -> None:
    harm(folder / "journal.db")  # type: ignore[operator]

    with Journal.open(folder, readonly=True) as journal:
        assert journal.pending() == ()
        assert journal.problem
        assert "is damaged" in journal.problem.message
    assert "journal.db" in files(folder)


def test_damage_that_shows_up_only_while_reading_is_said(folder: Path) -> None:
    torn_page(folder / "journal.db")

    with Journal.open(folder, readonly=True) as journal:
        assert len(journal.last_runs()) == 1
        with pytest.raises(StateError, match="it is damaged"):
            journal.pending()


def test_damage_that_only_a_later_row_meets_is_said_too(folder: Path) -> None:
    with Journal.open(folder) as journal:
        for number in range(200):
            journal.begin_run(day(number), version="1" * 999, command="sync", config_hash="")
    path = folder / "journal.db"
    content = bytearray(path.read_bytes())
    middle = slice(len(content) // 3, len(content) // 3 * 2)
    content[middle] = b"\xff" * len(content[middle])
    path.write_bytes(content)

    with Journal.open(folder, readonly=True) as journal:
        assert len(journal.last_runs()) == 10
        with pytest.raises(StateError, match="it is damaged"):
            journal.last_runs(1000)


def test_a_log_without_its_journal_is_damage_because_it_may_hold_intents(folder: Path) -> None:
    with Journal.open(folder) as journal:
        begin(journal, 2)
        log = (folder / "journal.db-wal").read_bytes()
    (folder / "journal.db").unlink()
    (folder / "journal.db-wal").write_bytes(log)

    with pytest.raises(StateError, match="missing beside its own log"):
        Journal.open(folder)
    assert [name[:16] + name[-7:] for name in files(folder)] == ["journal.corrupt-.db-wal"]
    assert len(repair(folder)) == 1


def test_a_second_damage_of_the_same_second_overwrites_nothing(folder: Path) -> None:
    for _ in range(2):
        random_bytes(folder / "journal.db")
        os.utime(folder / "journal.db", (day(2).timestamp(), day(2).timestamp()))
        assert len(repair(folder)) == 1

    assert files(folder) == [
        "journal.acknowledged-20261103T030000Z-1.db",
        "journal.acknowledged-20261103T030000Z.db",
    ]


def test_what_cannot_be_renamed_is_said_and_not_lost(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def in_use(self: Path, target: Path) -> Path:
        raise PermissionError(13, "in use by another process")

    random_bytes(folder / "journal.db")
    monkeypatch.setattr(Path, "rename", in_use)

    with pytest.raises(StateError, match="in use by another process"):
        Journal.open(folder)
    (folder / "journal.db").replace(folder / "journal.corrupt-1.db")
    with pytest.raises(StateError, match="in use by another process"):
        repair(folder)


# --- a full disk


def fill(journal: Journal) -> None:
    """From now on the file cannot grow, as on a full disk."""
    journal._execute("PRAGMA max_page_count = 1")


def test_a_full_disk_stops_a_run_before_anything_is_sent(folder: Path) -> None:
    with Journal.open(folder) as journal:
        fill(journal)
        with pytest.raises(StateError, match="disk or the quota is full") as full:
            journal.begin_run(day(2), version="1" * 9000, command="sync", config_hash="")
        assert "Free space" in full.value.remedy
        assert len(journal.last_runs()) == 1


def test_a_full_disk_after_a_write_leaves_its_intent_for_the_next_run(folder: Path) -> None:
    with Journal.open(folder) as journal:
        run = begin(journal, 2)
        operation = journal.intent(run, day(2), line(), company())
        fill(journal)
        with pytest.raises(StateError, match="full"):
            outcome(journal, operation, day(2), Outcome.APPLIED, detail="x" * 9000)

    with Journal.open(folder) as journal:
        assert operation in journal.pending()
        journal.settle(operation, begin(journal, 3), day(3), OperationOutcome(Outcome.APPLIED))
        assert operation.id not in {one.id for one in journal.pending()}


def test_a_mistake_of_kisi_is_not_blamed_on_the_disk(folder: Path) -> None:
    with Journal.open(folder) as journal:
        with pytest.raises(sqlite3.IntegrityError):
            journal.confirm(99, day(1), [confirmed(1)])
        with pytest.raises(TypeError, match="does not store list"):
            journal._rows("SELECT ?", [])
