"""kisi as a library: the same runs, without a command line. Nothing is printed, nothing exits."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

import kisi
from kisi.errors import ConfigError, Interrupted, Withheld
from kisi.journal import Journal
from tests.e2e.conftest import Operator

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def office(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> Operator:
    """Two clients, mapped, in the working folder."""
    operator.bill_as_one()
    operator.client("Contoso", workstations=10)
    operator.client("Fabrikam", workstations=20)
    operator.by_hand()
    monkeypatch.chdir(operator.folder)
    return operator


def _billed(office: Operator) -> list[float]:
    """The units that the PSA bills to each client."""
    return [sum(client.quantities.values()) for client in office.world.clients]


def test_the_lines_of_readme_run(office: Operator, capsys: pytest.CaptureFixture[str]):
    (example,) = re.findall(r"```python\n(import kisi\n.+?)```", README, re.DOTALL)
    assert len([line for line in example.splitlines() if line]) == 5

    exec(compile(example, "README.md", "exec"), {})

    assert _billed(office) == [10, 20]
    assert capsys.readouterr().out.splitlines() == [
        "Contoso: 0 → 10 applied",
        "Fabrikam: 0 → 20 applied",
        "0 2 of 2 clients up to date.",
    ]


def test_a_preview_writes_nothing_and_prints_nothing(office: Operator, capfd):
    result = kisi.preview("kisi.toml", detailed_exit_code=True)

    assert (result.exit_code, result.run, result.outcomes) == (10, None, ())
    assert result.last_line.startswith("0 of 2 clients up to date")
    assert _billed(office) == [0, 0]
    assert not office.state.exists()
    assert capfd.readouterr() == ("", "")


def test_a_run_returns_what_it_did_and_tells_its_progress(office: Operator, capfd):
    progress: list[tuple[str, int, int]] = []
    results: list[kisi.RunResult] = []

    result = kisi.sync(
        only=["Con*"], on_progress=lambda *step: progress.append(step), on_result=results.append
    )

    assert (result.exit_code, result.run, result.last_line) == (
        0,
        1,
        "1 of 1 clients up to date.",
    )
    assert [(line.after, line.outcome) for _, line in result.outcomes] == [(10, "applied")]
    assert results == [result]
    assert ("cw", 1, 1) in progress
    assert _billed(office) == [10, 0]
    assert capfd.readouterr() == ("", "")


def test_messages_go_to_the_callback(office: Operator, capfd):
    messages: list[kisi.Message] = []
    with Journal.open(office.state) as journal:
        journal.begin_run(datetime.now(UTC), version="1", command="sync", config_hash="")

    kisi.sync(on_message=messages.append)

    (message,) = messages
    assert message.is_warning
    assert str(message).startswith("Run 1 did not record its end")
    assert capfd.readouterr() == ("", "")


def test_what_cannot_go_on_is_raised(office: Operator):
    with pytest.raises(ConfigError, match="matches 'Nobody'"):
        kisi.sync(only=["Nobody"])
    with pytest.raises(Withheld, match="The id 00000000 does not match"):
        kisi.sync(accept=["00000000"])
    stop = kisi.Stop()
    stop.request()
    with pytest.raises(Interrupted):
        kisi.sync(stop=stop)
    assert _billed(office) == [0, 0]


def test_the_configuration_is_found_where_the_command_finds_it(
    office: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KISI_CONFIG", str(office.config))
    assert kisi.preview().exit_code == 0


def test_the_package_loads_a_run_only_when_it_is_asked_for():
    code = (
        "import sys, kisi;"
        "assert 'kisi.run' not in sys.modules;"
        "assert kisi.sync.__module__ == 'kisi.run.daily';"
        "assert not hasattr(kisi, 'nothing')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_reads_the_journal_alone_loads_no_http_and_no_adapter(office: Operator):
    assert office.run("sync").code == 0
    code = (
        "import sys; from kisi.cli import run;"
        "config = ['--config', sys.argv[1]];"
        "assert run(['status', *config]) == 0;"
        "assert run(['explain', 'Contoso', *config]) == 0;"
        "heavy = 'requests urllib3 ssl rich kisi.apply kisi.planning kisi.run.daily '"
        "        'kisi.sources.ksc.source kisi.psa.autotask.adapter kisi.psa.connectwise.adapter';"
        "sys.exit(', '.join(set(heavy.split()) & set(sys.modules)) or 0)"
    )
    arguments = [sys.executable, "-c", code, str(office.config)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
