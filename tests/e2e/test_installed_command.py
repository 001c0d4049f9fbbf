"""The console script as it is installed: its process, its streams, its exit code."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from kisi import __version__
from kisi.sandbox import Sandbox
from kisi.sandbox.world import APPLICATION, Client
from tests.conftest import WINDOWS, posix_modes, posix_shell, posix_terminal

KISI = Path(sys.executable).with_name("kisi.exe" if os.name == "nt" else "kisi")
SECONDS = 60
ENVIRONMENT = {
    name: value for name, value in os.environ.items() if not name.startswith("KISI_")
} | {"PYTHONIOENCODING": "utf-8"}
LONG = Path(*("x" * 90 for _ in range(3)))
"""With the folder it is in, longer than Windows allows where long paths are switched off."""


class Installed:
    """The console script, on a sandbox with one client of 90 workstations."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.sandbox = sandbox
        product = sandbox.world.product("KES-ADV", 4.5)
        self.product = product.id
        sandbox.world.billing.bill(APPLICATION, all=product)
        self.contoso: Client = sandbox.world.client("Contoso", workstations=90)
        self.config = str(sandbox.write_config(folder))
        self.environment = {**ENVIRONMENT, "HOME": str(folder)}

    def arguments(self, *arguments: str) -> list[str]:
        return [str(KISI), *arguments, "--config", self.config]

    def run(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Runs a command to its end."""
        return run(*arguments, "--config", self.config, environment=self.environment | more)


def run(
    *arguments: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs the console script to its end; never a traceback."""
    done = subprocess.run(
        [str(KISI), *arguments],
        capture_output=True,
        check=False,
        encoding="utf-8",
        env=environment or ENVIRONMENT,
        timeout=SECONDS,
    )
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[Installed]:
    with Sandbox() as sandbox:
        yield Installed(sandbox, tmp_path)


def test_help_and_version():
    version = run("--version")
    assert (version.returncode, version.stdout) == (0, f"kisi {__version__}\n")
    help_ = run("--help")
    assert help_.returncode == 0
    for command in ("init", "check", "map", "preview", "sync", "status", "explain", "demo"):
        assert f"\n  {command} " in help_.stdout
    for code in (" 3 ", " 6 ", " 75 "):
        assert code in " ".join(help_.stdout.split())


def test_the_demo_shows_the_main_job(tmp_path: Path):
    demo = run("demo", environment={**ENVIRONMENT, "HOME": str(tmp_path)})

    assert demo.returncode == 0
    assert "NOT as it should be" not in demo.stdout
    assert demo.stdout.count("as it should be") == 4
    assert "new → 90" in demo.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_first_and_a_second_sync(installed: Installed):
    first = installed.run("sync")
    assert first.returncode == 0
    assert installed.contoso.quantities == {installed.product: 90}
    assert first.stderr.endswith("1 of 1 clients up to date.\n")
    writes = len(installed.sandbox.requests(method="POST"))

    second = installed.run("sync")
    assert second.returncode == 0
    assert len(installed.sandbox.requests(method="POST")) == writes == 1


def test_init_writes_a_file_that_only_misses_its_secrets(tmp_path: Path):
    config = str(tmp_path / "kisi.toml")

    made = run("init", "--config", config)
    assert made.returncode == 0
    text = Path(config).read_text(encoding="utf-8")
    again = run("init", "--config", config)
    assert again.returncode == 3
    assert Path(config).read_text(encoding="utf-8") == text
    check = run("check", "--config", config)
    assert check.returncode == 3


@pytest.mark.parametrize("place", ["Köln & Søn (50 %) 'a' ^b 漢字", LONG])
def test_places_and_names_are_as_people_call_theirs(tmp_path: Path, place: str | Path):
    if WINDOWS and place is LONG:
        tmp_path = Path(f"\\\\?\\{tmp_path}")
    folder = tmp_path / place
    with Sandbox() as sandbox:
        installed = Installed(sandbox, folder)
        second = sandbox.world.client("Müller & Söhne", workstations=5)
        sandbox.write_config(folder)
        assert installed.run("sync").returncode == 0
        told = installed.run(
            "status", "--company", "*& S?hne", "--output", str(folder / "a b ü.txt")
        )

    assert second.quantities == {installed.product: 5}
    assert (told.returncode, told.stdout) == (0, "")
    assert "Müller & Söhne" in (folder / "a b ü.txt").read_text(encoding="utf-8")
    assert (folder / "state" / "journal.db").is_file()


def test_a_name_that_no_system_takes_is_an_error_in_words(tmp_path: Path):
    done = run("check", "--config", str(tmp_path / ("x" * 300)))

    assert done.returncode == 3
    assert "x" * 300 in "".join(done.stdout.split())


@posix_modes
def test_only_the_owner_can_read_the_state_folder(installed: Installed):
    installed.run("sync")

    state = Path(installed.config).parent / "state"
    assert [
        file.name for file in (state, state / "journal.db") if file.stat().st_mode & 0o077
    ] == []


@pytest.mark.parametrize("arguments", [["sync"], ["sync", "--json"], ["preview"]])
def test_a_closed_pipe_changes_neither_the_work_nor_the_exit_code(
    installed: Installed, arguments: list[str]
):
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            installed.arguments(*arguments),
            stdout=writing,
            stderr=subprocess.PIPE,
            check=False,
            encoding="utf-8",
            env=installed.environment,
            timeout=SECONDS,
        )
    finally:
        os.close(writing)

    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    written = {installed.product: 90} if arguments[0] == "sync" else {}
    assert installed.contoso.quantities == written


@posix_shell
@pytest.mark.parametrize(("stream", "other"), [("stdout", "stderr"), ("stderr", "stdout")])
def test_a_full_disk_under_the_output_changes_neither_the_work_nor_the_exit_code(
    installed: Installed, stream: str, other: str
):
    installed.contoso.key("Kaspersky Next", devices=installed.contoso.devices()[:1])
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            installed.arguments("sync"),
            check=False,
            encoding="utf-8",
            env=installed.environment,
            timeout=SECONDS,
            **{stream: full, other: subprocess.PIPE},
        )

    assert done.returncode == 6
    assert installed.contoso.quantities == {installed.product: 90}
    assert "Traceback" not in (getattr(done, other) or "")
    if stream == "stdout":
        assert "could not be printed" in done.stderr
        assert "unmapped usage: Contoso" in done.stderr


@posix_terminal
@pytest.mark.parametrize(
    ("more", "arguments", "colored"),
    [
        ({}, [], True),
        ({"NO_COLOR": "1"}, [], False),
        ({"TERM": "dumb"}, [], False),
        ({}, ["--no-color"], False),
    ],
)
def test_escape_codes_only_where_they_are_welcome(
    installed: Installed, more: dict[str, str], arguments: list[str], colored: bool
):
    environment = {**installed.environment, "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    shown = _on_a_terminal(installed.arguments("preview", *arguments), environment | more)

    assert "Contoso" in shown
    assert ("\x1b[" in shown) is colored


def test_without_a_terminal_there_are_no_escape_codes(installed: Installed):
    done = installed.run("preview", TERM="xterm-256color", FORCE_COLOR="")

    assert "Contoso" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr


def _on_a_terminal(arguments: list[str], environment: dict[str, str]) -> str:
    """What a command prints when stdout and stderr are a terminal."""
    import pty

    ours, theirs = pty.openpty()
    with subprocess.Popen(
        arguments, stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    ) as process:
        os.close(theirs)
        shown = bytearray()

        def read() -> None:
            with suppress(OSError):  # the last reader of a terminal gets EIO, not an end
                while chunk := os.read(ours, 4096):
                    shown.extend(chunk)

        reader = threading.Thread(target=read)
        reader.start()
        code = process.wait(timeout=SECONDS)
        reader.join(timeout=SECONDS)
    os.close(ours)
    assert code == 0
    return shown.decode("utf-8", "replace")
