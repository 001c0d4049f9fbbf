"""Options and their values: what is wrong with one is said before anything is asked or begun."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

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
