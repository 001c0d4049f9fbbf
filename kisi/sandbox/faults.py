"""Faults: the ways in which a simulated server lets its client down, and which requests are struck.

Tests say beforehand what goes wrong (`faults.add("lost", match="POST */additions")`), run, and
ask afterwards whether it did (`faults.unfired`). The same requests in the same order are struck
in every run. Each function of `KINDS` makes one misbehaviour: a callable that gets the exchange
and the call that lets the vendor act. `applied` says whether the vendor acts although the client
is not told so properly.
"""

from __future__ import annotations

import gzip
import os
import signal as signals
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from kisi.sandbox.http import Apply, Exchange, Intercept, Logged, Server

if TYPE_CHECKING:
    from kisi.sandbox.certificate import Certificate

_BLOCK = 64 * 1024
_MAINTENANCE = "<!DOCTYPE html><html><body><h1>Service maintenance</h1></body></html>"


def status(
    *,
    code: int,
    body: object = b"",
    headers: Mapping[str, str] | None = None,
    applied: bool = False,
) -> Intercept:
    """Answer with this status (also 200 with an error object, or a redirect)."""

    def act(exchange: Exchange, apply: Apply) -> None:
        if applied:
            apply()
        exchange.respond(code, body, headers)

    return act


def hang(*, seconds: float, applied: bool = False) -> Intercept:
    """Say nothing for so long, then close the connection."""

    def deliver(exchange: Exchange) -> None:
        exchange.wait(seconds)
        exchange.close_connection()

    def act(exchange: Exchange, apply: Apply) -> None:
        if applied:
            apply()
        exchange.reply = None
        exchange.deliver = deliver

    return act


def slow(*, seconds: float) -> Intercept:
    """Wait, then act and answer as ever."""

    def act(exchange: Exchange, apply: Apply) -> None:
        exchange.wait(seconds)
        apply()

    return act


def drip(*, delay: float = 0.05, length: int = 10_000, head: bool = False) -> Intercept:
    """Act, then send the answer byte by byte.

    Args:
        delay: Seconds between two bytes.
        length: The body is filled up with blanks to this length, so that it takes its time.
        head: Drip the status line and headers too.
    """

    def deliver(exchange: Exchange) -> None:
        body = exchange.content.ljust(length)
        start = exchange.head({"Content-Length": str(len(body))})
        if not head:
            exchange.send(start)
        for byte in start + body if head else body:
            exchange.send(bytes([byte]))
            if not exchange.wait(delay):
                break
        exchange.close_connection()

    return _delivering(deliver)


def reset_before() -> Intercept:
    """Reset the connection; the vendor never acts."""

    def act(exchange: Exchange, _: Apply) -> None:
        exchange.deliver = Exchange.reset

    return act


def lost() -> Intercept:
    """The vendor acts, the connection is reset, the answer never arrives."""

    def act(exchange: Exchange, apply: Apply) -> None:
        apply()
        exchange.reply = None
        exchange.deliver = Exchange.reset

    return act


def truncate() -> Intercept:
    """Promise more in Content-Length than is sent."""
    return _broken_off(
        lambda exchange, body: exchange.head({"Content-Length": str(len(body) + 1)}) + body[:-1]
    )


def chunk_cut() -> Intercept:
    """Break a chunked answer off in the middle of a chunk."""
    return _broken_off(
        lambda exchange, body: (
            exchange.head({"Transfer-Encoding": "chunked"})
            + f"{len(body):x}\r\n".encode()
            + body[: len(body) // 2]
        )
    )


def close_cut() -> Intercept:
    """Send half of a body whose end is marked only by the end of the connection."""
    return _broken_off(
        lambda exchange, body: exchange.head({"Connection": "close"}) + body[: len(body) // 2]
    )


def interim(
    *, code: int = 103, count: int = 1, headers: Mapping[str, str] | None = None
) -> Intercept:
    """Announce the answer with interim ones (`100`, `103 Early Hints`), then send it as ever."""
    lines = [f"HTTP/1.1 {code} Interim"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    announcement = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def deliver(exchange: Exchange) -> None:
        exchange.send(announcement * count)
        exchange.send_reply()

    return _delivering(deliver)


def surplus(*, body: object) -> Intercept:
    """Send another answer first, with this body, and leave the right one in the connection."""

    def deliver(exchange: Exchange) -> None:
        right = exchange.whole()
        exchange.respond(HTTPStatus.OK, body)
        exchange.send(exchange.whole() + right)

    return _delivering(deliver)


def misrouted(*, old: str, new: str) -> Intercept:
    """Answer another question: with `new` in place of `old` in its path and its parameters."""

    def act(exchange: Exchange, apply: Apply) -> None:
        path, query = exchange.path, exchange.query
        exchange.path = path.replace(old, new)
        exchange.query = {name: value.replace(old, new) for name, value in query.items()}
        apply()
        exchange.path, exchange.query = path, query

    return act


def html(*, body: str = _MAINTENANCE, code: int = HTTPStatus.OK) -> Intercept:
    """Answer with a web page, as a proxy or a server under maintenance does."""

    def act(exchange: Exchange, _: Apply) -> None:
        exchange.respond(code, body, content_type="text/html; charset=utf-8")

    return act


def empty(*, applied: bool = False) -> Intercept:
    """Answer 200 without a body."""
    return status(code=HTTPStatus.OK, applied=applied)


def garbage(
    *, body: bytes = b"\x00\xff\xfe not JSON", compressed: bool = False, applied: bool = False
) -> Intercept:
    """Answer 200 with bytes that are not JSON, if `compressed` not gzip either."""
    headers = {"Content-Encoding": "gzip"} if compressed else {}
    return status(code=HTTPStatus.OK, body=body, headers=headers, applied=applied)


def huge(*, length: int, compressed: bool = False) -> Intercept:
    """Answer with a body of `length` bytes of white space; small on the wire if `compressed`."""

    def deliver(exchange: Exchange) -> None:
        exchange.send(exchange.head({"Content-Length": str(length)}))
        for start in range(0, length, _BLOCK):
            exchange.send(b" " * min(_BLOCK, length - start))

    def act(exchange: Exchange, _: Apply) -> None:
        if compressed:
            exchange.respond(HTTPStatus.OK, gzip.compress(b" " * length), _GZIP)
        else:
            exchange.respond(HTTPStatus.OK, b" ")
            exchange.deliver = deliver

    return act


_GZIP = {"Content-Encoding": "gzip"}


def kill(
    *, pid: int | Callable[[], int], when: str = "applied", signal: int | None = None
) -> Intercept:
    """Send a signal to the client's process.

    Args:
        pid: The process, or a call that knows it by then.
        when: `before` the vendor acts, once it was `applied`, or once it was `answered`.
        signal: Default: SIGKILL (SIGTERM on Windows, which also ends a process there and then).
            After a fatal signal `before`, the vendor does not act, and no answer is sent; other
            signals let the request go on.

    Raises:
        ValueError: `when` is none of the three.
    """
    if when not in {"before", "applied", "answered"}:
        raise ValueError(f"A process is killed before, applied or answered, not {when!r}.")
    fatal = getattr(signals, "SIGKILL", signals.SIGTERM)
    chosen = fatal if signal is None else signal

    def strike() -> None:
        os.kill(pid() if callable(pid) else pid, chosen)

    def act(exchange: Exchange, apply: Apply) -> None:
        if when == "before":
            strike()
        if when != "before" or chosen != fatal:
            apply()
        if when == "applied":
            strike()
        if when == "answered":
            exchange.afterwards.append(strike)
        elif chosen == fatal:
            exchange.deliver = Exchange.reset

    return act


def call(*, function: Callable[[], object]) -> Intercept:
    """Run a function before the vendor acts: the world changes in the middle of a run."""

    def act(_: Exchange, apply: Apply) -> None:
        function()
        apply()

    return act


def twist(**how: Any) -> Intercept:  # noqa: ANN401 - each vendor reads its own
    """Ask the vendor itself to do something wrong; each vendor's module lists what it knows."""

    def act(exchange: Exchange, apply: Apply) -> None:
        exchange.twists.update(how)
        apply()

    return act


def _delivering(deliver: Callable[[Exchange], None]) -> Intercept:
    """Act as ever, but deliver the answer in this way."""

    def act(exchange: Exchange, apply: Apply) -> None:
        apply()
        exchange.deliver = deliver

    return act


def _broken_off(write: Callable[[Exchange, bytes], bytes]) -> Intercept:
    """Act, send what `write` makes of the answer's body, and close the connection."""

    def deliver(exchange: Exchange) -> None:
        exchange.send(write(exchange, exchange.content))
        exchange.close_connection()

    return _delivering(deliver)


KINDS: dict[str, Callable[..., Intercept]] = {
    kind.__name__: kind
    for kind in (
        *(status, hang, slow, drip, reset_before, lost, truncate, chunk_cut, close_cut, interim),
        *(surplus, misrouted, html, empty, garbage, huge, kill, call, twist),
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
    act: Intercept
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

        def intercept(exchange: Exchange, apply: Apply) -> None:
            for fault in reversed(self._due(labels(exchange))):
                apply = partial(fault.act, exchange, apply)
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


class Vendor(ABC):
    """A simulated vendor, which faults can strike.

    Args:
        name: Its name in the log.
        now: The clock of its server.
    """

    def __init__(self, name: str, now: Callable[[], datetime]) -> None:
        self.name = name
        self.now = now

    @abstractmethod
    def handle(self, exchange: Exchange) -> None:
        """Answer one request."""

    def labels(self, exchange: Exchange) -> Sequence[str]:
        """What faults match: by default `METHOD /path`, without the query."""
        return (f"{exchange.method} {exchange.path}",)

    def own_certificate(self) -> Certificate | None:
        """The certificate that it presents unless `serve` is given another; None: plain HTTP."""
        return None

    def admit(self, struck: Intercept, exchange: Exchange, apply: Apply) -> None:
        """Let a request pass to the faults and to `handle`."""
        struck(exchange, apply)

    def serve(
        self,
        *,
        tls: Certificate | None = None,
        port: int = 0,
        faults: Faults | None = None,
        log: list[Logged] | None = None,
        name: str = "",
    ) -> Server:
        """A server for it, not started yet; plain HTTP unless there is a certificate."""
        return Server(
            name or self.name,
            self.handle,
            tls=tls or self.own_certificate(),
            port=port,
            now=self.now,
            log=log,
            intercept=partial(self.admit, (faults or Faults()).around(self.labels)),
        )
