"""A day of 100 clients with 5 products each, 10 changed quantities, 50 ms added per request."""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import requests

from kisi.cli import run
from kisi.sandbox import Sandbox
from kisi.sandbox.http import Logged
from kisi.sandbox.world import World

CLIENTS, PRODUCTS, CHANGES, DELAY = 100, 5, 10, 0.05
WORKERS = 4


def world() -> World:
    """100 clients that use five applications each."""
    made = World()
    names = [f"Kaspersky Application {letter}" for letter in "ABCDE"]
    for name in names:
        made.billing.bill(name, all=made.product(name).id)
    for number in range(CLIENTS):
        client = made.client(f"Client {number:03}", application=names[0], workstations=3)
        for name in names[1:]:
            client.key(name, kind="commercial", devices=client.devices())
    return made


def sync(path: Path) -> float:
    """One quiet run; seconds."""
    out = io.StringIO()
    started = time.perf_counter()
    with redirect_stdout(out), redirect_stderr(out):
        code = run(["sync", "--quiet", "--config", str(path)])
    if code:
        raise RuntimeError(out.getvalue())
    return time.perf_counter() - started


@contextmanager
def prepared() -> Iterator[tuple[Sandbox, Path]]:
    """A sandbox whose agreements have all their lines, then ten changes, then slow answers."""
    with tempfile.TemporaryDirectory() as folder, Sandbox(world()) as sandbox:
        path = sandbox.write_config(Path(folder))
        sync(path)
        for client in sandbox.world.clients[:CHANGES]:
            key = client.server.keys[1]
            key.use(client.server.add_device(client.devices()[0].system))
        yield sandbox, path


def slow(sandbox: Sandbox) -> None:
    """Adds the round trip of a distant server to every ConnectWise request."""
    sandbox.faults.add("slow", match="* /*", times=None, seconds=DELAY)


def replay(sandbox: Sandbox, sent: list[Logged]) -> None:
    """The same requests, sent by bare workers with keep-alive and nothing around them."""
    reads = [one for one in sent if one.method == "GET"]
    writes = [one for one in sent if one.method != "GET"]
    sessions = [requests.Session() for _ in range(WORKERS)]
    kept = ("authorization", "clientid", "content-type", "accept", "pagination-type")

    def send(numbered: tuple[int, Logged]) -> None:
        number, one = numbered
        headers = {name: value for name, value in one.headers.items() if name in kept}
        url = f"{sandbox.cw_server.url}{one.path}"
        sessions[number % WORKERS].request(
            one.method,
            url,
            params=dict(one.query),
            data=one.body or None,
            headers=headers,
            timeout=30,
        )

    for batch in (reads[:1], reads[1:], writes):
        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(send, enumerate(batch)))
    for session in sessions:
        session.close()


def measured(action: Callable[[], object], sandbox: Sandbox) -> tuple[float, list[Logged]]:
    """Runs `action`; the seconds in which it reads ConnectWise and then writes it, and all sent.

    What lies between the two is not ConnectWise's: Security Center is read at the same time, and a
    run may wait for it.
    """
    before = len(sandbox.requests("connectwise"))
    action()
    sent = sandbox.requests("connectwise")[before:]
    begins = min((one.at for one in sent if one.method != "GET"), default=float("inf"))
    reads = [one.at for one in sent if one.at < begins]
    rest = [one.at for one in sent if one.at >= begins]
    spans = (max(phase) - min(phase) + DELAY for phase in (reads, rest) if phase)
    return sum(spans), sent


def figures() -> Iterator[tuple[str, str, str]]:
    """Name, measured, target."""
    with prepared() as (sandbox, path):
        slow(sandbox)
        ours, sent = measured(lambda: sync(path), sandbox)
        _, quiet = measured(lambda: sync(path), sandbox)
        bare, again = measured(lambda: replay(sandbox, sent), sandbox)
        if len(again) != len(sent):
            raise RuntimeError("the bare workers sent something else")
        yield "requests, 10 of 500 quantities changed", str(len(sent)), "at most 123"
        yield "requests, nothing changed", str(len(quiet)), "at most 103"
        yield "time of a sync / of 4 bare workers", f"{ours / bare:.2f}", "at most 1.25"
