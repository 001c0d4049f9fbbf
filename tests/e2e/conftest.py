"""An operator at the command line, before a running sandbox.

Every test here runs the real command line against real sockets and judges by what the PSA holds
afterwards, by the exit code, and by the sentences that the operator reads.
"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine

from kisi.cli import run
from kisi.sandbox import Sandbox
from kisi.sandbox.http import Logged
from kisi.sandbox.world import APPLICATION, Client, World
from kisi.transport import Clock
from tests.e2e.contract import check_plan

NOW = datetime(2026, 10, 14, 2, 30, tzinfo=UTC)
"""The night of the first run: far from the turn of a day, month or year."""

_WRITES = {"POST", "PATCH", "PUT", "DELETE"}


class _Stream(io.TextIOWrapper):
    """A stream that keeps what is written, and is as a pipe is."""

    def __init__(self) -> None:
        self._kept = io.BytesIO()
        super().__init__(self._kept, encoding="utf-8", newline="")

    @property
    def text(self) -> str:
        """What was written so far."""
        self.flush()
        return self._kept.getvalue().decode("utf-8-sig")  # CSV begins with a mark


@dataclass(frozen=True, slots=True)
class Result:
    """What one command did and said."""

    code: int
    out: str
    err: str
    requests: Sequence[Logged]
    """Every request that it sent, to whichever simulated server."""

    @property
    def document(self) -> dict[str, Any]:
        """Its JSON, which keeps the contract and names the exit code it ended with."""
        document = json.loads(self.out)
        check_plan(document)
        assert document["exit_code"] == self.code
        return document

    @property
    def last_line(self) -> str:
        """The run in words."""
        return self.err.rstrip("\n").rpartition("\n")[2]

    @property
    def writes(self) -> list[Logged]:
        """The writes that it sent to ConnectWise."""
        return [one for one in self.sent_to("connectwise") if one.method in _WRITES]

    def sent_to(self, server: str) -> list[Logged]:
        """The requests that it sent to `ksc` or `connectwise`."""
        return [one for one in self.requests if one.server == server]

    def company(self, name: str) -> dict[str, Any]:
        """The client's part of its JSON."""
        return next(one for one in self.document["companies"] if one["name"] == name)

    def holds(self, name: str) -> dict[str, str]:
        """Product to the guard that holds the client's line of it."""
        lines = self.company(name)["lines"]
        return {line["product"]: line["hold"]["guard"] for line in lines if line["hold"]}


class Operator:
    """Runs kisi on a sandbox, in this process.

    The files follow the sandbox's world before every run, unless `by_hand` was called.

    Attributes:
        sandbox: What kisi is run against.
        folder: Where kisi.toml and mapping.toml are.
        more: Further tables of kisi.toml.
        mapped: Whether there is a mapping.toml.
        ends_sessions: Whether every session must be ended after a run.
        slept: The waits that kisi asked for, in seconds; none of them was waited.
    """

    def __init__(self, sandbox: Sandbox, folder: Path, clock: time_machine.Traveller) -> None:
        self.sandbox = sandbox
        self.folder = folder
        self.more = ""
        self.mapped = True
        self.ends_sessions = True
        self.slept: list[float] = []
        self._clock = clock
        self._by_hand = False

    @property
    def world(self) -> World:
        """What the simulated vendors know."""
        return self.sandbox.world

    @property
    def config(self) -> Path:
        """kisi.toml."""
        return self.folder / "kisi.toml"

    @property
    def state(self) -> Path:
        """The state folder: journal and lock."""
        return self.folder / "state"

    def files(self) -> dict[str, bytes]:
        """The content of every file in the folder."""
        return {
            path.relative_to(self.folder).as_posix(): path.read_bytes()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file()
        }

    def write_files(self) -> None:
        """Writes kisi.toml and mapping.toml as the world is now."""
        self.sandbox.write_config(self.folder, mapping=self.mapped)
        with self.config.open("a", encoding="utf-8") as file:
            file.write(self.more)

    def by_hand(self) -> None:
        """Writes the files once more and leaves them to the test from now on."""
        self.write_files()
        self._by_hand = True

    def next_night(self, nights: int = 1) -> None:
        """Moves the clocks of kisi and of all servers on."""
        self._clock.shift(timedelta(days=nights))

    def move_to(self, moment: datetime) -> None:
        """Sets the clocks of kisi and of all servers."""
        self._clock.move_to(moment)

    def run(self, *arguments: str) -> Result:
        """Runs a command with this configuration, and looks that it left nothing open."""
        if not self._by_hand:
            self.write_files()
        return self.run_bare(*arguments, "--config", str(self.config))

    def run_bare(self, *arguments: str) -> Result:
        """Runs a command as it is."""
        began = len(self.sandbox.log)
        out, err = _Stream(), _Stream()
        with redirect_stdout(out), redirect_stderr(err):
            code = run(arguments)
        result = Result(int(code), out.text, err.text, tuple(self.sandbox.log[began:]))
        assert "Traceback" not in result.err
        assert code != 1, result.err
        assert not (self.ends_sessions and self.sandbox.ksc.open_sessions)
        assert not self.sandbox.ksc.violations
        return result

    def preview(self, *arguments: str) -> Result:
        """`kisi preview --json`, which writes nothing to any PSA."""
        result = self.run("preview", "--json", *arguments)
        assert not result.writes
        return result

    def sync(self, *arguments: str) -> Result:
        """`kisi sync --json`."""
        return self.run("sync", "--json", *arguments)

    def bill_by_category(self, application: str = APPLICATION) -> tuple[int, int, int]:
        """Bills an application by category; the products for workstations, servers, the rest."""
        products = [self.world.product(f"{application[-8:]}-{kind}") for kind in ("W", "S", "X")]
        workstations, servers, others = products
        self.world.billing.bill(
            application,
            windows_workstations=workstations,
            windows_servers=servers,
            non_windows=others,
        )
        return workstations.id, servers.id, others.id

    def bill_as_one(self, application: str = APPLICATION) -> int:
        """Bills an application as one product, and returns that."""
        product = self.world.product(f"{application[-8:]}-ALL")
        self.world.billing.bill(application, all=product)
        return product.id

    def client(self, name: str = "Contoso", **devices: Any) -> Client:
        """A client on both sides; see `World.client`."""
        return self.world.client(name, **devices)


@pytest.fixture
def operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Operator]:
    """An operator with an empty world, at `NOW`. Nothing waits: a wait moves the clocks on."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KISI_CONFIG", raising=False)
    # No test here trusts a public authority, and reading them all would take longer than a run.
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "no authority"))
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    with time_machine.travel(NOW, tick=True) as clock, Sandbox() as sandbox:
        operator = Operator(sandbox, tmp_path / "kisi", clock)

        def wait(_clock: Clock, seconds: float) -> None:
            operator.slept.append(seconds)
            clock.shift(timedelta(seconds=seconds))

        monkeypatch.setattr(Clock, "sleep", wait)
        yield operator
    root.handlers[:] = handlers
    root.setLevel(level)
