"""What people are sent of a run by `[notify] apprise`, and what `kisi notify --test` says."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator

import pytest

from kisi.sandbox.configuration import write_secret
from kisi.sandbox.world import Client
from tests.e2e.conftest import Operator
from tests.faults.monitor import TOKEN, Monitor, answer

HOSTILE = '[x](https://evil.example) <!channel>\x1b[31m\u202e"'
APPRISE = '[notify]\napprise = ["file:secrets/people"]\n'


@pytest.fixture
def monitor() -> Iterator[Monitor]:
    """A service that is in order."""
    monitor = Monitor(answer(200))
    yield monitor
    monitor.close()


@pytest.fixture
def contoso(operator: Operator) -> Client:
    """A client whose line is billed."""
    operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=30)
    assert operator.sync().code == 0
    return contoso


def tell(operator: Operator, url: str, more: str = "", name: str = "people") -> None:
    """From now on people are told at this address."""
    operator.more = APPRISE + more
    operator.write_files()
    write_secret(operator.folder / "secrets" / name, url)


def of_apprise(monitor: Monitor) -> str:
    """The address as Apprise writes it."""
    return monitor.url.replace("http://", "json://", 1)


def texts(monitor: Monitor) -> list[tuple[str, str]]:
    """Title and text of each message that arrived."""
    return [
        (body["title"], body["message"]) for method, _, body in monitor.heard if method == "POST"
    ]


def test_people_read_what_is_on_hold_and_the_command_that_releases_it(
    operator: Operator, contoso: Client, monitor: Monitor
):
    tell(operator, of_apprise(monitor))
    contoso.remove_devices(20, os="workstation")

    held = operator.sync()

    assert held.code == 6
    ((title, text),) = texts(monitor)
    assert title == "kisi: on hold"
    lines = text.splitlines()
    assert lines[0] == held.last_line
    name = "Kaspersky Endpoint Security for Business - Advanced"
    assert f"Contoso: 30 → 10 {name} (decrease)" in lines
    (command,) = re.findall(r"If that is right: kisi (sync --accept \w+)", text)
    assert len(text) < 500

    accepted = operator.run(*command.split(), "--json")

    assert accepted.code == 0
    assert [*contoso.quantities.values()] == [10]
    assert len(texts(monitor)) == 1


def test_several_clients_on_hold_are_released_by_one_command(
    operator: Operator, contoso: Client, monitor: Monitor
):
    others = [operator.client(f"Client {number}", workstations=30) for number in range(9)]
    assert operator.sync().code == 0
    tell(operator, of_apprise(monitor))
    for client in (contoso, *others):
        client.remove_devices(20, os="workstation")

    assert operator.sync().code == 6

    ((_, text),) = texts(monitor)
    assert text.count(" → 10 ") == 8
    assert "\n... and 2 more\n" in text
    (command,) = re.findall(r"kisi (sync --accept \w+)", text)
    assert operator.run(*command.split()).code == 0
    assert {tuple(client.quantities.values()) for client in (contoso, *others)} == {(10,)}


@pytest.mark.parametrize(
    ("when", "told"),
    [
        ("", [False, False, True]),
        ('when = "changes"', [True, False, True]),
        ('when = "always"', [True] * 3),
    ],
)
def test_when_says_of_which_runs_people_are_told(
    operator: Operator, contoso: Client, monitor: Monitor, when: str, told: list[bool]
):
    tell(operator, of_apprise(monitor), when)
    contoso.add_devices("workstation", 1)

    heard = []
    for code in (0, 0, 4):  # a change, none, a source that fails
        if code:
            operator.world.servers.remove(contoso.server)
        before = len(texts(monitor))
        assert operator.run("sync").code == code
        heard.append(len(texts(monitor)) > before)

    assert heard == told


def test_a_run_over_some_clients_says_so(operator: Operator, contoso: Client, monitor: Monitor):
    tell(operator, of_apprise(monitor), 'when = "always"')

    assert operator.sync("--client", "Contoso").code == 0

    ((title, text),) = texts(monitor)
    assert title == "kisi (only Contoso): done"
    assert text == "1 of 1 clients up to date.\n\nMore: kisi status"


def test_a_run_that_cannot_begin_is_told(operator: Operator, contoso: Client, monitor: Monitor):
    tell(operator, of_apprise(monitor))
    operator.by_hand()
    (operator.folder / "mapping.toml").write_text("[[company]", encoding="utf-8")

    assert operator.run("sync").code == 3

    ((title, text),) = texts(monitor)
    assert title == "kisi: configuration"
    assert "mapping.toml" in text.splitlines()[0]


def test_a_hostile_name_is_a_line_of_text(operator: Operator, contoso: Client, monitor: Monitor):
    evil = operator.client(HOSTILE, workstations=30)
    assert operator.sync().code == 0
    tell(operator, of_apprise(monitor))
    evil.remove_devices(20, os="workstation")

    assert operator.sync().code == 6

    ((_, text),) = texts(monitor)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert '[x](https://evil.example) <!channel>\\x1b[31m\\u202e": 30 → 10 ' in text


def test_apprise_is_not_even_loaded_where_nobody_is_to_be_told(
    operator: Operator, contoso: Client, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "apprise", None)

    for tells in (False, True):
        if tells:
            tell(operator, f"json://127.0.0.1:9/{TOKEN}")
        result = operator.run("sync")
        assert (result.code, "could not be told" in result.err) == (0, False)


def test_check_says_that_the_package_is_missing(
    operator: Operator, contoso: Client, monkeypatch: pytest.MonkeyPatch
):
    tell(operator, f"json://127.0.0.1:9/{TOKEN}")
    assert "apprise" not in operator.run("check").out
    monkeypatch.setattr("kisi.cli.checking.find_spec", lambda _: None)

    result = operator.run("check")

    assert result.code == 0
    assert "[notify] apprise needs the package apprise" in " ".join(result.out.split())


# --- kisi notify --test ---------------------------------------------------------------------------

BOTH = 'healthcheck = "file:secrets/told"\nwebhook = "file:secrets/told"\n'


def test_a_test_reaches_every_address_and_passes_for_no_run(
    operator: Operator, contoso: Client, monitor: Monitor
):
    tell(operator, monitor.url, BOTH, name="told")
    tell(operator, of_apprise(monitor), BOTH)

    result = operator.run("notify", "--test")

    assert result.code == 0
    assert [line.split()[1:] for line in result.out.splitlines()[1:]] == [
        ["healthcheck", "answered", "200."],
        ["webhook", "answered", "200."],
        ["apprise,", "entry", "1", "took", "the", "message."],
    ]
    assert result.requests == ()
    (ping, hook, text) = monitor.heard
    assert ping == ("GET", f"/{TOKEN}/log", None)
    assert (hook[2]["mode"], hook[2]["exit_code"]) == ("test", 0)
    assert text[2]["title"] == "kisi: a test"
    assert TOKEN not in result.out + result.err


def test_a_test_says_who_did_not_take_it(operator: Operator, contoso: Client):
    broken = Monitor(answer(404))
    tell(operator, broken.url, BOTH, name="told")
    tell(operator, of_apprise(broken), BOTH)

    result = operator.run("notify", "--test", "--json")
    broken.close()

    assert result.code == 3
    document = json.loads(result.out)
    assert document["exit_code"] == 3
    (area,) = document["areas"]
    assert [(one["level"], one["message"]) for one in area["findings"]] == [
        ("problem", "healthcheck answered 404."),
        ("problem", "webhook answered 404."),
        ("problem", "apprise, entry 1 answered 404."),
    ]


def test_a_test_with_nobody_to_tell_or_an_address_that_leads_nowhere_is_an_error(
    operator: Operator, contoso: Client
):
    nobody = operator.run("notify", "--test")
    assert nobody.code == 3
    assert "names nobody" in nobody.out

    operator.more = APPRISE
    nowhere = operator.run("notify", "--test")
    assert nowhere.code == 3
    assert "cannot be read" in nowhere.err

    assert operator.run("notify").code == 2


def test_an_address_in_the_file_itself_is_refused_and_not_repeated(
    operator: Operator, contoso: Client
):
    operator.more = f'[notify]\napprise = ["json://127.0.0.1/{TOKEN}"]\nwhen = "never"\n'

    result = operator.run("check")

    assert result.code == 3
    said = " ".join(result.out.split())
    assert "[notify] apprise, entry 1: A secret is given by reference, never by value" in said
    assert '"attention", "changes" or "always"' in said
    assert TOKEN not in result.out + result.err
