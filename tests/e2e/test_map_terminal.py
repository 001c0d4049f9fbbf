"""`kisi map` on a real terminal of 80 columns, typed at by a script."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from kisi.sandbox import Sandbox
from kisi.sandbox.world import APPLICATION, World
from tests.conftest import posix_terminal

pytestmark = posix_terminal

COMMENT = "# our clients\r\n"
SECONDS = 30


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """Three clients on both sides under different names, three products, nothing mapped."""
    world = World()
    for identifier in ("KES-ADV-WS", "KES-ADV-SRV", "KES-ADV-OTHER"):
        world.product(identifier, 4.0)
    for tenant, company in (
        ("CONTOSO", "Contoso Ltd"),
        ("VS 17", "Fabrikam GmbH"),
        ("Litware", "Litware"),
    ):
        client = world.client(company, mapped=False, workstations=2, servers=1)
        client.server.name = tenant
    world.agreement(world.companies[251], "Backup")
    with Sandbox(world) as sandbox:
        yield sandbox


@contextmanager
def terminal(config: Path, *arguments: str) -> Iterator[Any]:
    """kisi on a terminal of 80 columns and 40 lines, as `pexpect` sees it."""
    import pty
    import termios

    from pexpect import fdpexpect

    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell's background job ignores ^C, and so would what it starts.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    ours, its = pty.openpty()
    termios.tcsetwinsize(its, (40, 80))
    command = [sys.executable, "-m", "kisi", "map", *arguments, "--config", str(config)]
    environment = {**os.environ, "TERM": "xterm", "PYTHONIOENCODING": "utf-8", "COLUMNS": "80"}
    process = subprocess.Popen(
        command, stdin=its, stdout=its, stderr=its, env=environment, start_new_session=True
    )
    os.close(its)
    screen = fdpexpect.fdspawn(ours, timeout=SECONDS, encoding="utf-8")
    screen.process = process
    try:
        yield screen
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def answer(screen: Any, question: str, line: str) -> str:
    """Waits for a question and types a line; returns what stood before it."""
    screen.expect_exact(question)
    seen = screen.before
    screen.sendline(line)
    return plain(seen)


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r\n", "\n")


def test_a_client_and_an_application_by_category_are_mapped_and_quitting_keeps_both(
    sandbox: Sandbox, tmp_path: Path
):
    config = sandbox.write_config(tmp_path / "kisi", mapping=False)
    file = config.with_name("mapping.toml")
    file.write_bytes(COMMENT.encode())
    uid = [server.uid for server in sandbox.world.servers]

    with terminal(config) as screen:
        overview = answer(screen, "Which? q quits [1]:", "2")
        assert "3 of 3 belong to no client" in overview
        assert "3 of 3 have no Kaspersky" in overview
        assert "counted per device" in answer(screen, "q quit [1]:", "2")
        assert "KES-ADV-WS" in answer(screen, "q quit [1]:", "")
        answer(screen, "q quit [1]:", "")
        answer(screen, "q quit [1]:", "")
        answer(screen, "Which? q quits [1]:", "")
        assert "spelling and legal form" in answer(screen, "q quit [1]:", "1")
        assert "since" in answer(screen, "from the next sync on? (y/n) [y]:", "n")
        assert "VS 17   2 of 3" in answer(screen, "q quit:", "abri")
        answer(screen, "q quit [1]:", "1")
        assert "Backup" in answer(screen, "Agreement: number; s skip, b back, q quit:", "q")
        screen.expect_exact("2 answers are in")
        assert screen.process.wait(SECONDS) == 0

    assert (
        file.read_bytes()
        == (
            COMMENT + "\r\n"
            f'[[application]]\r\nname = "{APPLICATION}"\r\n\r\n'
            f'[[product]]\r\napplication = "{APPLICATION}"\r\n'
            "windows_workstations = 1201\r\nwindows_servers = 1202\r\nnon_windows = 1203\r\n\r\n"
            f'[[company]]\r\nname = "Contoso Ltd"\r\ntenants = ["hq:{uid[0]}"]\r\n'
            "company = 250\r\nagreement = 1042\r\nbilling = false\r\n"
        ).encode()
    )


def interrupt(screen, until: str) -> None:
    """^C as a person presses it: again, if it came a moment before the prompt began to listen."""
    import pexpect

    for _ in range(SECONDS):
        screen.process.send_signal(signal.SIGINT)
        if screen.expect_exact([until, pexpect.TIMEOUT], timeout=2) == 0:
            return
    raise AssertionError(screen.before)


def test_an_interrupted_session_keeps_what_was_confirmed(sandbox: Sandbox, tmp_path: Path):
    config = sandbox.write_config(tmp_path / "kisi", mapping=False)
    with terminal(config) as screen:
        answer(screen, "Which? q quits [1]:", "1")
        answer(screen, "q quit [1]:", "")
        answer(screen, "(y/n) [y]:", "")
        screen.expect_exact("VS 17")
        screen.expect_exact("q quit:")
        interrupt(screen, "1 answer is in")
        assert screen.process.wait(SECONDS) == 130
    assert 'name = "Contoso Ltd"' in config.with_name("mapping.toml").read_text(encoding="utf-8")


def test_a_move_is_confirmed_on_a_terminal(sandbox: Sandbox, tmp_path: Path):
    world = sandbox.world
    world.clients[0].mapped = True
    world.agreements[1042].cancelled = True
    new = world.agreement(world.companies[250])
    config = sandbox.write_config(tmp_path / "kisi")
    with terminal(config, "renew") as screen:
        shown = answer(screen, "Move 1 client? [y/N]:", "y")
        assert f"Contoso Ltd: 1042 → {new.id}" in shown
        screen.expect_exact(f"agreement {new.id}.")
        assert screen.process.wait(SECONDS) == 0
    text = config.with_name("mapping.toml").read_text(encoding="utf-8")
    assert f"agreement = {new.id}\n" in text


def test_no_line_of_a_session_is_wider_than_the_terminal(sandbox: Sandbox, tmp_path: Path):
    sandbox.world.servers[0].name = "Contoso \x1b[31m" + "very " * 30 + "東京" * 20
    config = sandbox.write_config(tmp_path / "kisi", mapping=False)
    with terminal(config) as screen:
        seen = answer(screen, "Which? q quits [1]:", "1")
        seen += answer(screen, "q quit", "fabrikam")
        seen += answer(screen, "q quit", "q")
        screen.expect_exact("0 answers are in")
    assert "\x1b[31m" not in seen
    assert max(len(line) for line in re.split(r"[\r\n]", seen)) <= 80
