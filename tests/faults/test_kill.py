"""kill -9 at every moment of a write. The next run finds out what became of it."""

from __future__ import annotations

import sqlite3
from concurrent.futures import Future

import pytest

from kisi.journal import RunState
from kisi.sandbox.http import Logged
from tests.conftest import KILLED
from tests.faults.conftest import CREATE, UPDATE, Trial, trouble
from tests.faults.processes import Process
from tests.faults.test_tigerpaw import SUBMIT, Ledger


@pytest.fixture(params=[True, False], ids=["create", "update"])
def due(live: Trial, request: pytest.FixtureRequest) -> Trial:
    """One client, whose line is to be created, or to be updated."""
    live.fabrikam.mapped = False
    if not request.param:
        live.bill()
    return live


def match(trial: Trial) -> str:
    """The write that is due."""
    return UPDATE if trial.contoso.additions else CREATE


def writes(trial: Trial) -> list[Logged]:
    """The writes that reached ConnectWise since the first run."""
    return trial.sandbox.writes


def kill(trial: Trial, when: str, *options: str, call: str = "", once: str = "") -> None:
    """A `kisi sync` that a server kills.

    Args:
        trial: Whose.
        when: Before the server acts, once it was applied, or once it was answered.
        options: Of the `kisi sync`.
        call: The request; by default the write that is due.
        once: What kisi must have said before.
    """
    running: Future[Process] = Future()

    def number() -> int:
        process = running.result()
        process.wait_for(once)
        return process.pid

    trial.fault("kill", call or match(trial), pid=number, when=when)
    with trial.process("sync", "-v", *options) as process:
        running.set_result(process)
    assert trial.ended[-1].code == KILLED
    trial.sandbox.ksc.sessions.open.clear()  # in truth it takes some minutes to forget them


def recovers(trial: Trial, *, sent: int, accept: bool = False) -> None:
    """The killed run is told of, and a clean one settles what it left.

    Args:
        trial: After the kill.
        sent: How many writes have reached ConnectWise in the end; each of them once.
        accept: A person has to say that what was not shown is to be made.
    """
    assert trial.states()[0] == "crashed"
    trial.heals(trial.contoso, accept=accept)
    runs = 3 if accept else 2
    told = trial.results[-runs].err
    assert "did not record its end; what it left open is being settled" in told
    assert len(writes(trial)) == sent
    assert trial.states()[: runs + 1] == [*["finished"] * runs, "crashed"]


@pytest.mark.fault(
    40,
    injection="kill -9 after the intent, before ConnectWise applies the write",
    outcome="run `crashed`; the next run finds nothing written: it writes an update once more; a "
    "create, which may still show, it holds as `deleted` until that is accepted",
)
def test_killed_before_the_write_is_applied(due: Trial):
    kill(due, "before")

    (pending,) = due.pending()
    assert pending.outcome is None
    recovers(due, sent=2, accept=pending.line.line_id is None)


@pytest.mark.fault(
    40,
    injection="kill -9 after the intent of a create; `kisi preview` comes before the next run",
    outcome="the journal has the run as running, and nobody holds the lock: the preview holds the "
    "create as `deleted`, as the next run does, which takes the id that it shows",
)
def test_a_preview_after_the_kill_holds_what_is_not_shown(live: Trial):
    live.fabrikam.mapped = False
    kill(live, "before")
    live.sandbox.faults.clear()
    assert live.last_run.state is RunState.RUNNING

    shown = live.operator.run("preview", "--json")

    assert (shown.code, shown.writes) == (6, [])
    assert trouble(shown, "Contoso").guard == "deleted"
    assert live.last_run.state is RunState.RUNNING
    assert live.sync("--accept", shown.document["plan_id"]).code == 0
    live.heals(live.contoso)


@pytest.mark.fault(
    40,
    injection="kill -9 after ConnectWise applied the write, before its answer",
    outcome="run `crashed`; the next run finds it written and sends nothing",
)
def test_killed_after_the_write_was_applied(due: Trial):
    kill(due, "applied")

    (pending,) = due.pending()
    assert pending.outcome is None
    recovers(due, sent=1)


@pytest.mark.parametrize("when", ["before", "applied"])
@pytest.mark.parametrize("way", ["back", "away"])
@pytest.mark.fault(
    40,
    injection="kill -9 while a line is written that `--revert` brings back, or whose reversal is "
    "accepted away; before ConnectWise applies the write, or after that",
    outcome="run `crashed`; the next run sends what was accepted once, and the line stays "
    "`reverted`, or is billed by its count again, as it was accepted",
)
def test_killed_while_a_run_is_undone(live: Trial, when: str, way: str):
    live.fabrikam.mapped = False
    live.bill()
    before = list(live.contoso.quantities.values())
    live.contoso.add_devices(n=1)
    assert live.sync().code == 0
    now = list(live.contoso.quantities.values())
    asked = live.sync("--revert", str(live.last_run.id))
    if way == "away":
        assert live.sync("--accept", asked.document["plan_id"]).code == 0
        assert list(live.contoso.quantities.values()) == before
        asked = live.sync()
    kill(live, when, "--accept", asked.document["plan_id"])
    live.sandbox.faults.clear()
    assert live.states()[0] == "crashed"
    live.sync()
    wanted = before if way == "back" else now
    assert list(live.contoso.quantities.values()) == wanted
    last = live.sync()
    assert list(live.contoso.quantities.values()) == wanted
    assert set(last.holds("Contoso").values()) == ({"reverted"} if way == "back" else set())


@pytest.mark.fault(
    40,
    injection="kill -9 as soon as the answer is sent",
    outcome="run `crashed`; whether the outcome was stored or not, nothing is sent again",
)
def test_killed_after_the_answer(due: Trial):
    kill(due, "answered")

    assert len(due.pending()) <= 1
    recovers(due, sent=1)


@pytest.mark.fault(
    40,
    injection="kill -9 after the answer was read, before its outcome is stored",
    outcome="run `crashed`; the next run finds it written and sends nothing",
)
def test_killed_before_the_outcome_is_stored(due: Trial):
    held: list[sqlite3.Connection] = []

    def hold() -> None:
        """The intent is stored; from now on nothing more can be, until we let go."""
        path = due.operator.state / "journal.db"
        held.append(sqlite3.connect(path, isolation_level=None, check_same_thread=False))
        held[0].execute("BEGIN IMMEDIATE")

    due.fault("call", match(due), function=hold)
    kill(due, "answered", once=", request id ")
    held[0].rollback()
    held[0].close()

    (pending,) = due.pending()
    assert pending.outcome is None
    recovers(due, sent=1)


@pytest.mark.fault(
    40,
    injection="kill -9 while the sources are read",
    outcome="run `crashed`, nothing pending; the next run gets the lock at once and bills",
)
def test_killed_before_anything_was_written(due: Trial):
    kill(due, "before", call="HostGroup.FindHosts@Contoso")

    assert due.pending() == ()
    assert writes(due) == []
    recovers(due, sent=1)


@pytest.mark.parametrize("first", [True, False], ids=["create", "update"])
@pytest.mark.parametrize(("when", "sent"), [("before", 2), ("applied", 1), ("answered", 1)])
@pytest.mark.fault(
    40,
    injection="kill -9 before, after and beyond a Tigerpaw submit",
    outcome="run `crashed`; the next run reads the charges first: one charge, nothing else moved "
    "(a new one that is not shown only once it is accepted)",
)
def test_killed_around_a_submit(live: Trial, when: str, sent: int, first: bool):
    live.contoso.mapped = live.fabrikam.mapped = False
    ledger = Ledger(live.operator, first=first)
    live.sandbox.log.clear()

    kill(live, when, call=SUBMIT)

    assert live.states()[0] == "crashed"
    accept = first and when == "before"
    ledger.heals(accept=accept)
    assert len(live.sandbox.writes) == sent
    runs = 3 if accept else 2
    assert live.states()[: runs + 1] == [*["finished"] * runs, "crashed"]
