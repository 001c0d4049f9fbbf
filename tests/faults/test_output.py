"""Trouble with printing or telling never changes what is billed, nor the exit code of a run."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kisi.render.terminal import cells
from kisi.run import notification
from kisi.sandbox.configuration import write_secret
from tests.conftest import posix_accounts, posix_links, posix_shell, posix_terminal
from tests.faults.conftest import CREATE, Trial
from tests.faults.monitor import TOKEN, Behave, Monitor, answer, hang_up
from tests.faults.processes import LONGEST, _command
from tests.owners import belongs_to

STATE = 8


def shell(trial: Trial, redirection: str, *arguments: str, **environment: str) -> tuple[int, str]:
    """A command run by a shell: its exit code, and what came out where the shell still listens."""
    trial.operator.write_files()
    words = [*_command(), *arguments, "--config", str(trial.operator.config)]
    line = f'"$@" {redirection}; echo "exit $?" >&9'
    read, write = os.pipe()
    done = subprocess.run(
        ["/bin/bash", "-c", f"exec 9>&{write}; {line}", "bash", *words],
        capture_output=True,
        check=False,
        timeout=LONGEST,
        pass_fds=[write],
        env={**os.environ, **environment},
    )
    os.close(write)
    with os.fdopen(read) as told:
        code = int(told.read().split()[1])
    said = (done.stdout + done.stderr).decode("utf-8", "replace")
    assert "Traceback" not in said
    assert "Exception ignored" not in said
    return code, said


def printed(trial: Trial, encoding: str, *arguments: str) -> bytes:
    """What a command writes to a pipe on a machine that speaks `encoding`."""
    trial.operator.write_files()
    speaks = {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0", "LC_ALL": "C", "COLUMNS": "100"}
    done = subprocess.run(
        [*_command(), *arguments, "--config", str(trial.operator.config)],
        capture_output=True,
        check=False,
        timeout=LONGEST,
        env={**os.environ, **speaks},
    )
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    return done.stdout


@pytest.mark.fault(
    55,
    injection="stdout or stderr is a closed pipe, closed, or a full disk",
    outcome="billed as ever, exit code of the run, no traceback",
)
@posix_shell
@pytest.mark.parametrize(
    "redirection",
    [
        "| true",
        "2>&1 | true",
        ">/dev/full",
        ">/dev/full 2>&1",
        ">&-",
        "2>&-",
        ">&- 2>&- <&-",
    ],
)
def test_a_result_that_nobody_reads_was_billed_all_the_same(live: Trial, redirection: str):
    if "|" in redirection:  # the exit code of kisi, not of the pipe's other end
        redirection = f"{redirection}; (exit ${{PIPESTATUS[0]}})"

    code, said = shell(live, redirection, "sync", "-v")

    assert code == 0
    assert live.contoso.quantities == {live.product: 6}
    if redirection == ">/dev/full":
        assert "The result could not be printed: No space left on device." in said
    with live.journal() as journal:
        assert journal.last_runs(1)[0].exit_code == 0
    live.heals()


@pytest.mark.fault(
    55,
    injection="stdout speaks ASCII, Windows-1252 or code page 852, and names do not fit in",
    outcome="billed; what does not fit is escaped, kisi's own symbols have stand-ins",
)
@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp852"])
def test_names_that_an_encoding_cannot_carry_are_escaped(live: Trial, encoding: str):
    live.contoso.company.name = live.contoso.server.name = "株式会社 Müller"

    said = printed(live, encoding, "sync").decode(encoding)

    assert r"\u682a\u5f0f\u4f1a\u793e" in said
    assert live.contoso.quantities == {live.product: 6}
    live.heals()


@pytest.mark.parametrize(
    "arguments",
    [["preview", "--format", "html"], ["preview", "--format", "csv"], ["map", "export"]],
    ids=["page", "csv", "map export"],
)
def test_what_another_program_reads_is_utf_8_whatever_the_console_speaks(
    live: Trial, arguments: list[str]
):
    name = "株式会社 Müller"
    live.contoso.company.name = live.contoso.server.name = name

    said = printed(live, "cp1252", *arguments)

    assert name in said.decode()
    assert b"\r\r" not in said  # lines of CSV end once, also where the system ends lines by itself


@pytest.mark.fault(
    55,
    injection="--output names a folder, a place that does not exist, or a device without space",
    outcome="billed and journaled as ever; then exit 8 with a sentence, and no file lies around",
)
@pytest.mark.parametrize(
    "output",
    [
        *("", ".", "nowhere/report.json", "kisi.toml/report.json"),
        pytest.param("/dev/full", marks=posix_shell),
    ],
)
def test_a_report_that_cannot_be_written_changes_nothing(billed: Trial, output: str):
    where = output if output in {"", "/dev/full"} else str(billed.operator.folder / output)
    files = set(billed.operator.files())

    result = billed.operator.sync("--output", where)

    billed.results.append(result)
    assert result.code == STATE, result.err
    assert "The result could not be written to " in result.err
    assert "nothing that was billed depends on it" in result.err
    assert billed.contoso.quantities == {billed.product: 8}
    assert billed.last_run.exit_code == 0
    assert billed.sentence == "2 of 2 clients up to date."
    assert set(billed.operator.files()) == files
    if output == "/dev/full":
        assert Path(output).is_char_device()
    billed.heals()


@pytest.mark.fault(
    55,
    injection="--output names a device or a pipe",
    outcome="refused at once, also where nobody reads it: exit 8, billed and journaled as ever",
)
@posix_shell
def test_a_pipe_is_refused_and_stays_one(billed: Trial, tmp_path: Path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    result = billed.operator.sync("--output", str(pipe))

    billed.results.append(result)
    assert result.code == STATE
    assert f"could not be written to {pipe}: it is not a regular file" in result.err
    assert pipe.is_fifo()
    assert billed.contoso.quantities == {billed.product: 8}
    billed.heals()


@pytest.mark.fault(
    55,
    injection="a link, a pipe or somebody's file lies where a report could first be written",
    outcome="it is not touched; the report is for its owner alone, and an old one keeps its rights",
)
@posix_shell
def test_a_report_goes_past_whatever_lies_beside_it(billed: Trial, tmp_path: Path):
    report, theirs = tmp_path / "report.json", tmp_path / "theirs"
    theirs.write_text("kept")
    (tmp_path / "report.json.part").symlink_to(theirs)

    assert billed.operator.sync("--output", str(report)).code == 0

    assert report.stat().st_mode & 0o777 == 0o600
    (tmp_path / "report.json.part").unlink()
    os.mkfifo(tmp_path / "report.json.part")
    report.chmod(0o640)
    assert billed.operator.sync("--output", str(report)).code == 0
    assert report.stat().st_mode & 0o777 == 0o640
    assert json.loads(report.read_text())["exit_code"] == 0
    assert theirs.read_text() == "kept"
    assert {path.name for path in tmp_path.iterdir()} >= {"report.json", "report.json.part"}
    assert not list(tmp_path.glob(".report*"))
    billed.heals()


@pytest.mark.fault(
    55,
    injection="--output names a link, of the operator's own or of another user",
    outcome="the file behind an own link is written and the link stays; another's: exit 8",
)
@posix_links
def test_a_report_follows_only_a_link_of_its_own_user(
    billed: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    target, link = tmp_path / "target.json", tmp_path / "link.json"
    target.write_text("old")
    link.symlink_to(target)

    assert billed.operator.sync("--output", str(link)).code == 0
    written = target.read_text()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "lstat", lambda _: os.stat_result((0o120777, *[0] * 3, 4321, *[0] * 5)))
        refused = billed.operator.sync("--output", str(link))

    billed.results.append(refused)
    assert json.loads(written)["exit_code"] == 0
    assert link.is_symlink()
    assert refused.code == STATE
    assert "it is another user's link" in refused.err
    assert target.read_text() == written
    billed.heals()


@pytest.mark.fault(
    55,
    injection="--output names a file of another user",
    outcome="billed as ever, exit 8: the report is not given to him, his file is as it was",
)
@posix_accounts
def test_a_report_is_not_written_over_another_users_file(
    billed: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    report = tmp_path / "report.json"
    report.write_text("his")
    with monkeypatch.context() as patch:
        belongs_to(patch, report, 4321)
        refused = billed.operator.sync("--output", str(report))

    billed.results.append(refused)
    assert refused.code == STATE
    assert f"could not be written to {report}: it is another user's file." in refused.err
    assert report.read_text() == "his"
    assert billed.contoso.quantities == {billed.product: 8}
    belongs_to(monkeypatch, report, 0)
    assert billed.operator.sync("--output", str(report)).code == 0
    assert json.loads(report.read_text())["exit_code"] == 0
    billed.heals()


@pytest.mark.fault(
    55,
    injection="the log file is on a full disk",
    outcome="billed as ever, no traceback",
)
@posix_shell
def test_a_log_that_cannot_be_written_changes_nothing(billed: Trial):
    log = billed.operator.state / "kisi.log"
    log.unlink()
    log.symlink_to("/dev/full")

    result = billed.sync()

    assert result.code == 0
    assert "Logging error" not in result.err
    assert billed.contoso.quantities == {billed.product: 8}
    log.unlink()
    billed.heals()


# --- terminals ------------------------------------------------------------------------------------

ANSI = re.compile(r"\x1b")
COLORFUL = {"TERM": "xterm-256color", "NO_COLOR": "", "PYTHONUTF8": "1"}


def on_terminal(trial: Trial, *arguments: str, width: int = 100, **environment: str) -> str:
    """What a command shows on a terminal of this width."""
    import pexpect

    trial.operator.write_files()
    path, *rest = [*_command(), *arguments, "--config", str(trial.operator.config)]
    inherited = {key: value for key, value in os.environ.items() if key != "COLUMNS"}
    child = pexpect.spawn(
        path,
        rest,
        dimensions=(24, width),
        env={**inherited, **COLORFUL, **environment},
        encoding="utf-8",
        timeout=LONGEST,
    )
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0, child.before
    return str(child.before)


@pytest.mark.fault(
    56,
    injection="a terminal; then NO_COLOR, TERM=dumb or --no-color",
    outcome="colours and progress only on a terminal that wants them",
)
@posix_terminal
def test_colours_are_only_where_they_are_welcome(live: Trial):
    assert ANSI.search(on_terminal(live, "preview"))
    assert not ANSI.search(on_terminal(live, "preview", NO_COLOR="1"))
    assert not ANSI.search(on_terminal(live, "preview", TERM="dumb"))
    _, piped = shell(live, "2>&1 | cat; (exit ${PIPESTATUS[0]})", "preview", **COLORFUL)
    assert not ANSI.search(piped)


@pytest.mark.fault(
    56,
    injection="a terminal 20 columns wide",
    outcome="everything is wrapped, nothing is cut off; only commands are longer",
)
@posix_terminal
def test_a_very_narrow_terminal_shows_everything(live: Trial):
    live.contoso.company.name = live.contoso.server.name = "Contoso Elektrotechnik 漢字漢字漢字"

    said = on_terminal(live, "preview", width=20, NO_COLOR="1")

    lines = [line.rstrip("\r") for line in said.splitlines()]
    result = lines[: next(i for i, line in enumerate(lines) if "clients up to" in line)]
    wide = [line for line in result if cells(line) > 20 and "kisi " not in line]
    assert not wide
    assert "Elektrotechnik" in said
    assert "漢字漢字漢字" in said


# --- whoever is told ------------------------------------------------------------------------------


def tell(trial: Trial, url: str) -> None:
    """From now on the run is told to this address, both ways."""
    trial.operator.write_files()
    for name in ("ping-url", "webhook-url"):
        write_secret(trial.operator.folder / "secrets" / name, url)
    trial.operator.more = (
        '[notify]\nhealthcheck = "file:secrets/ping-url"\nwebhook = "file:secrets/webhook-url"\n'
    )


@pytest.fixture
def monitors() -> Iterator[list[Monitor]]:
    """Closes what a test has opened."""
    opened: list[Monitor] = []
    yield opened
    for monitor in opened:
        monitor.close()


def _codes(heard: list[tuple[str, str, Any]]) -> list[tuple[str, str]]:
    return [(method, path.removeprefix(f"/{TOKEN}")) for method, path, _ in heard]


def test_the_service_hears_start_end_and_summary(billed: Trial, monitors: list[Monitor]):
    monitors.append(Monitor(answer(200)))
    tell(billed, monitors[0].url)

    result = billed.sync()

    heard = monitors[0].heard
    assert _codes(heard) == [("GET", "/start"), ("GET", "/0"), ("POST", "")]
    assert heard[-1][2] == {**result.document, "scope": None}
    assert "monitoring" not in result.err


def test_the_service_hears_of_a_run_that_could_not_begin(billed: Trial, monitors: list[Monitor]):
    monitors.append(Monitor(answer(200)))
    tell(billed, monitors[0].url)
    (billed.operator.state / "journal.db").write_bytes(b"none")

    assert billed.operator.run("sync").code == STATE

    heard = monitors[0].heard
    assert _codes(heard) == [("GET", "/start"), ("GET", "/8"), ("POST", "")]
    assert heard[-1][2]["exit_code"] == STATE
    assert heard[-1][2]["last_line"].startswith("The journal was damaged")
    for damaged in billed.operator.state.glob("journal.corrupt-*"):
        damaged.unlink()


def _warned(err: str, why: str) -> int:
    """How often an operator reads why the service could not be told; `-vv` says it once more."""
    return sum(why in line for line in err.splitlines() if not line.startswith("DEBUG"))


@pytest.mark.fault(
    62,
    injection="the monitoring service answers 500, redirects, or hangs up",
    outcome="a warning for each, without the address; exit code and bills as ever",
)
@pytest.mark.parametrize(
    "behave",
    [
        answer(500),
        answer(302, Location=f"http://127.0.0.1:9/{TOKEN}"),
        answer(404),
        hang_up,
    ],
    ids=["500", "redirect", "404", "hangs up"],
)
def test_a_service_in_trouble_is_a_warning(
    billed: Trial,
    monitors: list[Monitor],
    behave: Behave,
):
    monitors.append(Monitor(behave))
    tell(billed, monitors[0].url)

    result = billed.sync()

    assert result.code == 0
    assert billed.contoso.quantities == {billed.product: 8}
    assert result.err.count("The monitoring service ") == 3
    assert TOKEN not in result.err
    billed.heals()


@pytest.mark.fault(
    62,
    injection="the address has its token in the query, and the service hangs up",
    outcome="start and exit code go onto the path, before the query; no part of it is printed",
)
def test_an_address_with_a_query_is_kept_whole_and_secret(billed: Trial, monitors: list[Monitor]):
    monitors.append(Monitor(hang_up))
    tell(billed, f"{monitors[0].url}/?key=q-{TOKEN}&x=1")

    result = billed.sync()

    assert result.code == 0
    query = f"?key=q-{TOKEN}&x=1"
    assert _codes(monitors[0].heard) == [
        ("GET", f"/start{query}"),
        ("GET", f"/0{query}"),
        ("POST", f"/{query}"),
    ]
    assert result.err.count("The monitoring service could not be told: [notify]: the server ") == 3
    port = monitors[0].url.rpartition(":")[2].partition("/")[0]
    assert not [part for part in (TOKEN, "key=", f":{port}") if part in result.err]
    billed.heals()


@pytest.mark.fault(
    62,
    injection="the name of the service's host is secret, and cannot be resolved or trusted",
    outcome="a warning for each, without the name; exit code and bills as ever",
)
def test_the_host_of_the_service_is_not_named(billed: Trial):
    tell(billed, f"https://user:pw-{TOKEN}@{TOKEN}.invalid/x")

    result = billed.sync("-vv")

    assert result.code == 0
    assert _warned(result.err, "its name could not be resolved") == 3
    assert TOKEN not in result.err
    billed.heals()


@pytest.mark.fault(
    62,
    injection="the monitoring service hangs for a minute",
    outcome="given up after 10 seconds each time; a warning, exit code and bills as ever",
)
def test_a_service_that_hangs_is_given_up(
    billed: Trial, monitors: list[Monitor], monkeypatch: pytest.MonkeyPatch
):
    assert notification.SECONDS == 10
    monkeypatch.setattr(notification, "SECONDS", 0.3)
    monitors.append(Monitor(lambda exchange: exchange.wait(60)))
    tell(billed, monitors[0].url)
    billed.fault("status", CREATE, times=None, code=400)
    billed.fabrikam.remove_devices(3)

    result = billed.sync()

    assert result.code == 6, "Fabrikam's line would go to 0"
    assert billed.contoso.quantities == {billed.product: 8}
    assert _warned(result.err, "it did not answer in time") == 3
    assert TOKEN not in result.err
    billed.fabrikam.add_devices(n=3)
    billed.heals()


@pytest.mark.fault(
    62,
    injection="nobody listens at the service's address, or it is none at all",
    outcome="a warning for each; exit code and bills as ever",
)
@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/" + TOKEN,
        "https://127.0.0.1:{port}/" + TOKEN,
        TOKEN,
        f"//127.0.0.1/{TOKEN}",
        f"http://[::1/{TOKEN}",
        f"http://127.0.0.1:port/{TOKEN}",
        f"ftp://127.0.0.1/{TOKEN}",
        f"http://{'x' * 300}.invalid/{TOKEN}",
    ],
)
def test_an_address_where_nobody_listens_is_a_warning(billed: Trial, url: str):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    tell(billed, url.format(port=port))

    result = billed.sync()

    assert result.code == 0
    assert billed.contoso.quantities == {billed.product: 8}
    assert result.err.count("The monitoring service could not be told: ") == 3
    assert TOKEN not in result.err
    billed.heals()
