"""peers: ConnectWise alone. Ten of all lines get another quantity; each agreement is read.

Security Center answers kisi at once here, and is read by nobody else. What the others send is what
their own example does: the lines of each agreement, then the changes. kisi also reads every
agreement, and what it wrote, as the bare ones do.
"""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable

from benchmarks.programs import PEERS, WORKERS
from benchmarks.servers import Servers, servers
from benchmarks.timing import Cost, compare, cost


def table(options: Namespace) -> None:
    """kisi against a server of its own: the peers' changes would be drift to it."""
    with servers(options) as ours, servers(options) as theirs:
        for each in (ours, theirs):
            each.ask("slow", "* /*", options.delay)
        numbers = iter(range(1000, 10_000))

        def peer(name: str) -> Cost:
            told = [theirs.known, theirs.ask("change"), next(numbers)]
            return cost("-m", "benchmarks.programs", name, json.dumps(told))

        actions: dict[str, Callable[[], Cost]] = {"kisi sync": lambda: run(ours)}
        actions |= {name: lambda name=name: peer(name) for name in PEERS}
        title = f"peers: {options.clients} clients, {options.delay * 1000:.0f} ms a request"
        compare(title, actions, f"{WORKERS} bare workers", options.rounds)


def run(handle: Servers) -> Cost:
    """A sync that has ten lines to change."""
    handle.ask("change")
    return cost(*handle.sync())
