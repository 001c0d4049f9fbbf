"""Options and their values: what is wrong with one is said before anything is asked or begun."""

from __future__ import annotations

import itertools
import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from kisi.cli import app
from tests.e2e.conftest import Operator

HUGE = "9" * 30


@pytest.mark.parametrize(
    "arguments",
    [
        *(
            ["sync", option, value]
            for option in ("--jitter", "--lock-timeout")
            for value in ("inf", "nan", "1e25", "86401", "-1")
        ),
        *(
            ["status", "--ready", "--max-age", value]
            for value in ("99999999999d", f"{HUGE}h", "9" * 5000 + "m", "36501d", "inf", "-1d", "d")
        ),
        *(
            ["status", "--since", value]
            for value in (
                "99999999999d",
                "9999999d",
                "0001-01-01",
                "9999-12-31T23:59:59-10:00",
                "yesterday",
            )
        ),
        ["explain", "Contoso", "--run", HUGE],
        ["explain", "Contoso", "--run", "-1"],
        *(["map", "suggest", "--min-score", value] for value in ("nan", "inf", "1.1")),
        ["sandbox", "--fleet", HUGE],
    ],
    ids=lambda arguments: " ".join(arguments)[:50],
)
def test_a_number_beyond_reason_is_a_usage_error(operator: Operator, arguments: list[str]):
    operator.by_hand()
    result = operator.run_bare(*arguments)

    assert result.code == 2, result.err
    assert "Error: " in result.err
    assert result.out == ""
    assert result.requests == ()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("map leave X --on 29.11.2026", "for --on: '29.11.2026' is not a day such as 2026-11-30."),
        ("map leave X --on 2026-13-01", "for --on: '2026-13-01' is not a day such as 2026-11-30."),
        ("statement --month 2026-13", "for --month: '2026-13' is not a month such as 2026-11."),
        ("sync --jitter soon", "for '--jitter': This must be a number, not text."),
        ("explain X --run last", "for '--run': This must be a whole number, not text."),
    ],
)
def test_what_is_wrong_with_a_value_is_said_in_words(operator: Operator, arguments: str, said: str):
    operator.by_hand()
    result = operator.run_bare(*arguments.split())
    assert (result.code, result.out, result.requests) == (2, "", ())
    assert result.err.endswith(f"Error: Invalid value {said}\n")


@pytest.mark.parametrize("value", ["36500d", "1970-01-01", "0m"])
def test_the_largest_ages_work(operator: Operator, value: str):
    assert operator.run("status", "--since", value).code == 0
    if value.endswith("d"):
        assert operator.run("status", "--ready", "--max-age", value).code == 6


@pytest.mark.parametrize(
    ("command", "formats"),
    [
        (["check", "--online"], "table|json"),
        (["explain", "Contoso"], "table|json|csv"),
        (["map", "list"], "table|json|csv"),
        (["map", "suggest"], "table|json|csv"),
    ],
    ids=["check", "explain", "map list", "map suggest"],
)
def test_a_format_that_a_command_has_not_is_refused_before_anything_is_asked(
    operator: Operator, command: list[str], formats: str
):
    for form in {"csv", "html"} - set(formats.split("|")):
        result = operator.run(*command, "--format", form)
        assert result.code == 2
        assert result.requests == ()
        assert "--format" in result.err
    assert f"<{formats}>" in operator.run_bare(*command, "--help").out


@pytest.mark.parametrize("command", [["preview"], ["sync"], ["status"], ["check"], ["map", "list"]])
def test_json_beside_another_format_is_refused_before_anything_is_asked(
    operator: Operator, command: list[str]
):
    for options in (["--json", "--format", "TABLE"], ["--format", "table", "--json"]):
        result = operator.run(*command, *options)
        assert (result.code, result.out, result.requests) == (2, "", ())
        assert "It is short for --format json; leave one of the two out." in result.err
    assert operator.run(*command, "--json", "--format", "json").out.startswith("{")


def test_twice_verbose_shows_every_request(operator: Operator):
    operator.bill_as_one()
    operator.client("Contoso", workstations=3)
    result = operator.run("sync", "-vv")
    told = [line for line in result.err.splitlines() if line.startswith("DEBUG ")]
    shown = [line for line in told if line.endswith(" ms)")]
    assert len(shown) == len(result.requests) > 0
    assert any(
        "Security Center (hq): POST /api/v1.0/" in line and ": 200 (" in line for line in shown
    )
    assert any(": GET /finance/agreements: 200 (" in line for line in shown)
    assert any(": POST /finance/agreements/" in line and ": 201 (" in line for line in shown)
    assert not any("?" in line for line in shown)
    assert "DEBUG" not in operator.run("preview", "-v").err


def _commands(group: Any, *above: str) -> Iterator[tuple[str, set[str]]]:
    """Every command by its name, with its options."""
    for name, command in group.commands.items():
        words = (*above, name)
        if hasattr(command, "commands"):
            yield from _commands(command, *words)
        yield " ".join(words), {option for param in command.params for option in param.opts}


@pytest.mark.parametrize(("name", "has"), [*_commands(typer.main.get_command(app))])
def test_every_command_can_be_told_how_to_speak(name: str, has: set[str]):
    assert has >= {"--quiet", "-q", "--verbose", "-v", "--no-color"}
    if name not in {"demo", "sandbox"}:  # they bring a kisi.toml of their own
        assert has >= {"--config", "-c"}


def _help(*command: str) -> str:
    done = CliRunner().invoke(app, [*command, "--help"], terminal_width=80, env={"COLUMNS": "80"})
    return done.output


@pytest.mark.parametrize("group", [(), ("map",)])
def test_each_purpose_is_whole_in_a_line_of_80_columns(group: tuple[str, ...]):
    listed = _help(*group).partition("Commands:\n")[2].partition("\n\n")[0].splitlines()

    assert len(listed) > 10
    assert not [
        line for line in listed if len(line) > 80 or not line.endswith(".") or "..." in line
    ]


@pytest.mark.parametrize("name", [name for name, _ in _commands(typer.main.get_command(app))])
def test_the_help_of_each_command_begins_with_examples_that_work(name: str):
    _usage, purpose, examples, *_ = _help(*name.split()).split("\n\n")

    assert len(purpose.splitlines()) == 1
    lines = [line.strip().partition("     ")[0] for line in examples.splitlines()]
    assert lines[0].startswith(f"kisi {name}")
    root: Any = typer.main.get_command(app)
    for line in lines:
        program, *words = shlex.split(line)
        command, above = root, typer.Context(root)
        assert program == "kisi"
        while hasattr(command, "commands") and words:
            command = command.commands[words.pop(0)]
        command.make_context("kisi", words, parent=above, resilient_parsing=False)


def test_a_client_is_named_alike_everywhere_and_the_older_names_go_on_working(operator: Operator):
    operator.bill_as_one()
    for name in ("Contoso", "Contoso Lab", "Fabrikam"):
        operator.client(name, workstations=3)
    operator.world.tenant("Nobody's", workstations=1)
    assert operator.sync().code == 0

    for command, option in (
        *itertools.product(("preview", "sync", "status"), ("--client", "--only", "--company")),
        ("statement", "--client"),
    ):
        result = operator.run(command, option, "brik", "-v")
        assert "Fabrikam" in result.out
        assert not [x for x in ("Contoso", "Nobody's") if x in result.out + result.err]
        result = operator.run(command, option, "ontos")
        assert (result.code, result.requests) == (3, ())
        assert "2 clients have 'ontos' in their name: Contoso, Contoso Lab." in result.err
    assert "--only" not in _help("preview")
    assert "--company" not in _help("status")
    assert operator.run("explain", "--client", "brik").out.startswith("Fabrikam")
    assert operator.run("explain").code == 2
    assert operator.run("map", "billing", "brik", "off").code == 0
    result = operator.run("map", "remove", "ontos")
    assert result.code == 3
    assert 'names several clients: "Contoso"' in result.err


def test_a_sync_that_is_to_be_dry_is_told_of_preview_in_one_line(operator: Operator):
    result = operator.run("sync", "--dry-run")

    assert (result.code, result.out, result.requests) == (2, "", ())
    assert result.err == "Error: `kisi preview` shows what a sync would do; nothing was done.\n"


def test_what_is_typed_often_has_one_letter(operator: Operator, tmp_path: Path):
    operator.by_hand()
    out = tmp_path / "result.json"

    assert operator.run_bare("-V").out == operator.run_bare("--version").out
    assert operator.run("preview", "-f", "json", "-o", str(out)).out == ""
    assert json.loads(out.read_text(encoding="utf-8"))["mode"] == "preview"


@pytest.mark.parametrize("option", ["-q", "-v", "-vv", "--no-color"])
def test_init_speaks_as_it_is_told(operator: Operator, tmp_path: Path, option: str):
    result = operator.run_bare("init", option, "--config", str(tmp_path / "new.toml"))

    assert result.code == 0
    assert ("kisi check" in result.err) is (option != "-q")


def test_a_quiet_demo_says_nothing_of_steps_that_went_well(operator: Operator):
    result = operator.run_bare("demo", "--quiet", "--no-color")

    assert result.code == 0
    assert "as it should be" not in result.out


def test_hostile_names_cannot_reach_the_terminal(operator: Operator):
    operator.bill_as_one()
    operator.client("Contoso", workstations=90)
    operator.client("Evil\x1b]0;owned\x07\x1b[2J\u202egnp.exe\n+ Fabrikam", workstations=1)

    for arguments in (["preview"], ["map", "list"], ["sync"], ["status"], ["sync", "-vv"]):
        done = operator.run(*arguments)
        for character in "\x1b\x07\u202e":
            assert character not in done.out + done.err
        assert "\n+ Fabrikam" not in done.out
