"""What `[notify]` hears: the exit code of every run over all clients, in a sentence too."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from kisi.lock import run_lock
from kisi.sandbox.configuration import write_secret
from tests.e2e.conftest import Operator
from tests.faults.monitor import TOKEN, Monitor, answer

NOTIFY = '[notify]\nhealthcheck = "file:secrets/told"\nwebhook = "file:secrets/told"\n'
HOOK = {"format_version": 1, "mode": "sync", "scope": None}


@pytest.fixture
def monitor() -> Iterator[Monitor]:
    """A service that is in order."""
    monitor = Monitor(answer(200))
    yield monitor
    monitor.close()


@pytest.fixture
def told(operator: Operator, monitor: Monitor) -> Operator:
    """An operator of two clients, whose runs are told to the monitor both ways."""
    operator.bill_as_one()
    operator.client("Contoso", workstations=3)
    operator.client("Fabrikam", workstations=2)
    operator.more = NOTIFY
    operator.by_hand()
    write_secret(operator.folder / "secrets" / "told", monitor.url)
    return operator


def _pings(monitor: Monitor) -> list[str]:
    return [path.removeprefix(f"/{TOKEN}") for method, path, _ in monitor.heard if method == "GET"]


def _hooked(monitor: Monitor) -> dict[str, object]:
    (document,) = [document for method, _, document in monitor.heard if method == "POST"]
    return dict(document)


def test_a_result_that_could_not_be_written_is_no_good_run(told: Operator, monitor: Monitor):
    assert told.sync("--output", str(told.folder / "nowhere" / "x")).code == 8

    assert _pings(monitor) == ["/start", "/8"]
    document = _hooked(monitor)
    assert document["exit_code"] == 8
    assert str(document["last_line"]).startswith("The result could not be written to ")
    assert str(document["last_line"]).endswith("2 of 2 clients up to date.")
    assert document["summary"]["applied"] == 2


def _lock(told: Operator) -> None:
    with run_lock(told.state):
        told.run("sync")


def _stale(told: Operator) -> None:
    told.run("sync", "--accept", "0" * 12)


def _no_journal(told: Operator) -> None:
    told.state.mkdir()
    (told.state / "journal.db").write_bytes(b"none")
    told.run("sync")


@pytest.mark.parametrize(
    ("run", "code", "sentence"),
    [
        (_lock, 75, "holds the lock"),
        (_stale, 6, "The id 000000000000 does not match the current plan."),
        (_no_journal, 8, "journal"),
    ],
)
def test_a_run_that_ends_early_is_told_with_its_sentence(
    told: Operator, monitor: Monitor, run: Callable[[Operator], None], code: int, sentence: str
):
    run(told)

    assert _pings(monitor) == ["/start", f"/{code}"]
    document = _hooked(monitor)
    assert document | HOOK | {"exit_code": code} == document
    assert sentence in str(document["last_line"])


WRONG = {
    "mapping.toml": ("mapping.toml", "[[company]"),
    "a row of mapping.toml": ("mapping.toml", '[[company]]\nname = "x"'),
    "another table of kisi.toml": ("kisi.toml", "[guards]\nadopt = 1"),
    "a secret of a source": ("secrets/ksc-password", ""),
    "the other address": ("kisi.toml", ""),
}


@pytest.mark.parametrize(("file", "text"), WRONG.values(), ids=WRONG)
def test_wrong_files_are_told_where_the_addresses_can_be_read(
    told: Operator, monitor: Monitor, file: str, text: str
):
    path = told.folder / file
    before = path.read_text(encoding="utf-8")
    if text:
        path.write_text(f"{before}\n{text}\n", encoding="utf-8")
    elif file == "kisi.toml":
        spoiled = before.replace('healthcheck = "file:secrets/told"', 'healthcheck = "env:NOT_SET"')
        path.write_text(spoiled, encoding="utf-8")
    else:
        path.write_text("", encoding="utf-8")

    result = told.run("sync")

    assert result.code == 3
    assert result.requests == ()
    assert _pings(monitor) == ([] if file == "kisi.toml" and not text else ["/3"])
    assert _hooked(monitor) | HOOK | {"exit_code": 3} == _hooked(monitor)


def test_a_kisi_toml_that_cannot_be_read_tells_nobody(told: Operator, monitor: Monitor):
    told.config.write_text(told.config.read_text(encoding="utf-8") + "[notify", encoding="utf-8")

    assert told.run("sync").code == 3
    assert monitor.heard == []


@pytest.mark.parametrize(
    ("scope", "said"),
    [(("--only", "Contoso"), "only Contoso"), (("--exclude", "Con*"), "not Con*")],
)
def test_a_run_over_some_clients_is_not_the_daily_run(
    told: Operator, monitor: Monitor, scope: tuple[str, str], said: str
):
    assert told.run("sync", *scope).code == 0

    assert _pings(monitor) == []
    document = _hooked(monitor)
    assert document["exit_code"] == 0
    assert document["scope"] == said


def test_a_bug_is_not_told_as_a_good_run(
    told: Operator, monitor: Monitor, monkeypatch: pytest.MonkeyPatch
):
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("kisi.cli.running.plan_report", broken)
    with pytest.raises(AssertionError, match="this is a bug in kisi"):
        told.run("sync")

    assert _pings(monitor) == ["/start", "/1"]
    assert _hooked(monitor)["exit_code"] == 1
