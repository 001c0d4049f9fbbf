"""Fault switches: which requests are struck, how, and how often it happened.

Tests say beforehand what goes wrong (`faults.add("lost", match="POST */additions")`), run, and
ask afterwards whether it did (`faults.unfired`). The same requests in the same order are struck
in every run.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from kisi.sandbox import misbehaviour
from kisi.sandbox.exchange import Exchange
from kisi.sandbox.http import Intercept
from kisi.sandbox.misbehaviour import Misbehaviour

KINDS: dict[str, Callable[..., Misbehaviour]] = {
    kind.__name__: kind
    for kind in (
        misbehaviour.status,
        misbehaviour.hang,
        misbehaviour.slow,
        misbehaviour.drip,
        misbehaviour.reset_before,
        misbehaviour.lost,
        misbehaviour.truncate,
        misbehaviour.chunk_cut,
        misbehaviour.close_cut,
        misbehaviour.interim,
        misbehaviour.surplus,
        misbehaviour.misrouted,
        misbehaviour.html,
        misbehaviour.empty,
        misbehaviour.garbage,
        misbehaviour.huge,
        misbehaviour.kill,
        misbehaviour.call,
        misbehaviour.twist,
    )
}
"""Every kind of fault by name; the functions' keyword arguments are the options of `add`."""


@dataclass(slots=True)
class Fault:
    """One switch, and what became of it."""

    kind: str
    match: str
    times: int | None
    """How often it strikes; None: for ever."""
    after: int
    """How many matching requests pass first."""
    act: Misbehaviour
    seen: int = 0
    """Matching requests so far."""
    fired: int = 0
    """How often it has struck."""

    def due(self) -> bool:
        """Whether the request that was just seen is to be struck."""
        return self.seen > self.after and (self.times is None or self.fired < self.times)


class Faults:
    """The fault switches of one sandbox. Thread-safe."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._faults: list[Fault] = []

    def add(
        self,
        kind: str,
        *,
        match: str,
        times: int | None = 1,
        after: int = 0,
        **options: Any,  # noqa: ANN401 - checked by the kind's own signature
    ) -> Fault:
        """Set a switch.

        Args:
            kind: A name of `KINDS`.
            match: A case-sensitive glob on `METHOD /path` (ConnectWise, Tigerpaw), or on
                `Class.Method` or `Class.Method@Virtual server` (Kaspersky Security Center).
            times: How often it strikes; None: for ever.
            after: How many matching requests pass first.
            options: What the kind takes.

        Returns:
            The switch; `fired` on it counts.

        Raises:
            KeyError: There is no such kind.
            TypeError: The kind takes no such option, or misses one.

        One request is struck by one fault: the first added that is due. `call` and `twist` strike
        along with it.
        """
        fault = Fault(kind, match, times, after, KINDS[kind](**options))
        with self._guard:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Remove every switch."""
        with self._guard:
            self._faults.clear()

    def fired(self, kind: str | None = None) -> int:
        """How often faults (of this kind) have struck."""
        with self._guard:
            return sum(fault.fired for fault in self._faults if kind in {None, fault.kind})

    @property
    def unfired(self) -> list[Fault]:
        """The switches that have not struck as often as they were set to, or never."""
        with self._guard:
            return [fault for fault in self._faults if fault.fired < (fault.times or 1)]

    def around(self, labels: Callable[[Exchange], Sequence[str]]) -> Intercept:
        """What a `Server` takes as `intercept`.

        Args:
            labels: The names of a request that `match` is compared with.
        """

        def intercept(exchange: Exchange, apply: Callable[[], None]) -> None:
            struck = self._due(labels(exchange))
            for fault in reversed(struck):
                apply = _bind(fault, exchange, apply)
            apply()

        return intercept

    def _due(self, labels: Sequence[str]) -> list[Fault]:
        companions: list[Fault] = []
        striker: list[Fault] = []
        with self._guard:
            for fault in self._faults:
                if not any(fnmatchcase(label, fault.match) for label in labels):
                    continue
                fault.seen += 1
                chosen = companions if fault.kind in {"call", "twist"} else striker
                if fault.due() and not (chosen is striker and striker):
                    fault.fired += 1
                    chosen.append(fault)
        return companions + striker


def method_and_path(exchange: Exchange) -> Sequence[str]:
    """The label of ordinary HTTP interfaces: `METHOD /path`, without the query."""
    return (f"{exchange.method} {exchange.path}",)


def _bind(fault: Fault, exchange: Exchange, apply: Callable[[], None]) -> Callable[[], None]:
    return lambda: fault.act(exchange, apply)
