"""An operator before simulated systems in which something goes wrong, and what must hold then.

Every test of this folder is a row of the list of faults (`@pytest.mark.fault`), from which
`docs/reliability.md` is made. Whatever happens, each run must be closed in the journal with the
exit code and the sentence that the operator read, and no secret may appear anywhere.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kisi.journal import Journal, Operation, Run, RunState
from kisi.sandbox import Sandbox
from kisi.sandbox.faults import Fault
from kisi.sandbox.world import Client, World
from kisi.transport import Clock, Limits
from tests.e2e import conftest as e2e
from tests.e2e.conftest import Operator, Result
from tests.faults.processes import Ended, Process
from tests.faults.secrecy import no_secrets

operator = e2e.operator
"""The end-to-end tests' own fixture."""

CREATE = "POST */additions"
UPDATE = "PATCH */additions/*"


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a client is not billed as it should be, as the operator's JSON has it."""

    guard: str
    reason: str
    remedy: str


class Trial:
    """Two clients of one product, and what becomes of them.

    Attributes:
        operator: Who runs kisi.
        product: Bills all devices.
        contoso: A client with 6 workstations.
        fabrikam: A client with 3.
        results: Every run so far, in this process.
        ended: Every run so far, in processes of their own.
    """

    def __init__(self, operator: Operator) -> None:
        self.operator = operator
        self.product = operator.bill_as_one()
        self.contoso = operator.client("Contoso", workstations=6)
        self.fabrikam = operator.client("Fabrikam", workstations=3)
        self.results: list[Result] = []
        self.ended: list[Ended] = []

    @property
    def sandbox(self) -> Sandbox:
        """The simulated systems."""
        return self.operator.sandbox

    @property
    def world(self) -> World:
        """What they know."""
        return self.operator.world

    def fault(self, kind: str, match: str, **options: Any) -> Fault:
        """Sets a fault switch; see `kisi.sandbox.faults`."""
        return self.sandbox.faults.add(kind, match=match, **options)

    def configure(self, old: str, new: str) -> None:
        """Changes kisi.toml by hand; `heals` takes it back."""
        self.operator.by_hand()
        text = self.operator.config.read_text(encoding="utf-8")
        assert old in text
        self.operator.config.write_text(text.replace(old, new), encoding="utf-8")

    def bill(self) -> None:
        """The first run, on which everything is well; then Contoso gets two devices more."""
        assert self.sync().code == 0
        self.contoso.add_devices(n=2)
        self.sandbox.log.clear()

    def sync(self, *arguments: str) -> Result:
        """`kisi sync --json -vv`; looks that the journal tells the same as the operator read."""
        result = self.operator.sync("-vv", *arguments)
        self.results.append(result)
        run = self.last_run
        assert run.exit_code == result.code
        assert run.state is RunState.FINISHED
        assert run.message.splitlines()[0] in result.err
        return result

    @contextmanager
    def process(self, *arguments: str) -> Iterator[Process]:
        """A command in a process of its own; its end is waited for."""
        self.operator.write_files()
        with Process(self.operator.config, *arguments) as process:
            yield process
            self.ended.append(process.end())

    def states(self) -> list[str]:
        """How `kisi status` says that the last runs ended, newest first."""
        status = self.operator.run("status", "--json")
        assert status.code == 0
        return [run["state"] for run in json.loads(status.out)["runs"]]

    @property
    def last_run(self) -> Run:
        """The newest run, as the journal has it."""
        with self.journal() as journal:
            return journal.last_runs(1)[0]

    @property
    def sentence(self) -> str:
        """What the operator read at the end of the last run."""
        return self.last_run.message

    @contextmanager
    def journal(self) -> Iterator[Journal]:
        """The journal, to be read."""
        with Journal.open(self.operator.state, readonly=True) as journal:
            yield journal

    def operations(self) -> tuple[Operation, ...]:
        """What the journal has of the last run's writes."""
        with self.journal() as journal:
            return journal.operations(self.last_run.id)

    def pending(self) -> tuple[Operation, ...]:
        """Writes of which nobody knows what they did."""
        with self.journal() as journal:
            return journal.pending()

    def heals(self, *clients: Client, accept: bool = False) -> None:
        """The trouble is over: a clean run bills everything, once, and the next one writes nothing.

        Faults are removed, and kisi.toml is as it was.

        Args:
            clients: Who must be billed; by default both.
            accept: A person has to release holds first.
        """
        self.sandbox.faults.clear()
        self.operator._by_hand = False
        result = self.sync()
        if accept:
            assert result.code == 6
            result = self.sync("--accept", result.document["plan_id"])
        assert result.code == 0, result.err
        for client in clients or (self.contoso, self.fabrikam):
            assert client.quantities == {self.product: len(client.devices())}
            assert len(client.additions) == 1 or accept
        assert self.pending() == ()
        again = self.sync()
        assert (again.code, again.writes) == (0, [])


def trouble(result: Result, client: str) -> Trouble:
    """Why a client was left as it is: its failure, or the hold of its first held line."""
    company = result.company(client)
    held = [line["hold"] for line in company["lines"] if line["hold"]]
    cause: Mapping[str, str] = company["failure"] or held[0]
    return Trouble(cause["guard"], cause["reason"], cause["remedy"])


def outcome(result: Result, client: str) -> tuple[str, str]:
    """What became of a client's only line, and what the operator reads about it."""
    (line,) = result.company(client)["lines"]
    return line["outcome"], line["detail"] or ""


def warnings(result: Result) -> list[str]:
    """The warnings that the operator read."""
    return [line for line in result.err.splitlines() if line.startswith("WARNING ")]


def calls(result: Result, method: str) -> int:
    """How often a method of Security Center was called, or tried."""
    return sum(one.path.endswith(f"/{method}") for one in result.sent_to("ksc"))


@pytest.fixture
def trial(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Trial]:
    """Two clients who were never billed. A wait takes its time on every clock, and no real time."""
    _wait_no_real_time(operator.slept, monkeypatch)
    trial = Trial(operator)
    yield trial
    no_secrets(operator.folder, trial.results)


def _wait_no_real_time(slept: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Clock, "monotonic", lambda _: time.monotonic() + sum(slept))


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Trial]:
    """The same two clients at the real time of day, for kisi in processes of its own.

    Runs in this process still take no real time where they wait.
    """
    monkeypatch.delenv("KISI_CONFIG", raising=False)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    with Sandbox() as sandbox:
        operator = Operator(sandbox, tmp_path / "kisi", clock=None)
        _wait_no_real_time(operator.slept, monkeypatch)
        monkeypatch.setattr(Clock, "sleep", lambda _, seconds: operator.slept.append(seconds))
        trial = Trial(operator)
        yield trial
        no_secrets(operator.folder, [*trial.results, *trial.ended])
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def billed(trial: Trial) -> Trial:
    """The same two clients, billed already; Contoso's line is to go from 6 to 8."""
    trial.bill()
    return trial


@contextmanager
def limits(**changed: float) -> Iterator[None]:
    """Runs inside have other limits for their requests, such as less patience."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kisi.run.setup.Limits", partial(Limits, **changed))
        yield
