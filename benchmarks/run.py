"""run, calls: the whole of `kisi sync` against its own requests, sent by bare workers.

The limit: both sides at once, each virtual server's requests one after the other, 8 servers and 4
ConnectWise requests at a time; writes once everything is read. Security Center answers a request
again by an error, because its session is over: shorter, and after the same delay.
"""

from __future__ import annotations

import json
import tempfile
from argparse import Namespace
from collections import Counter
from pathlib import Path

from benchmarks.programs import Log, sessions
from benchmarks.servers import CHANGES, Servers, servers
from benchmarks.timing import Cost, compare, cost


def changed(handle: Servers, logs: list[Log]) -> Cost:
    handle.ask("change")
    taken = cost(*handle.sync())
    logs.append(handle.ask("log"))
    return taken


def table(options: Namespace) -> None:
    """Both tables: they are of the same runs."""
    logs: list[Log] = []
    with (
        servers(options) as handle,
        servers(options) as other,  # whose lines the bare workers change: drift to kisi
        tempfile.TemporaryDirectory() as folder,
    ):
        for each in (handle, other):
            each.ask("slow", "*", options.delay)
        changed(handle, logs)
        file = Path(folder) / "log.json"
        file.write_text(json.dumps(logs[0]), encoding="utf-8")
        where = (str(file), other.known["ksc"], other.known["cw"])
        actions = {
            "kisi sync": lambda: changed(handle, logs),
            "the same requests": lambda: cost("-m", "benchmarks.programs", "replay", *where),
        }
        title = f"run: {options.clients} clients x {options.devices} devices, {CHANGES} changes, "
        title += f"{options.delay * 1000:.0f} ms a request"
        compare(title, actions, "the same requests", options.rounds)
        cost(*handle.sync())
        quiet = handle.ask("log")[len(logs[-1]) :]
    print("\ncalls")
    for name, log in (("ten lines changed", logs[-1]), ("nothing changed", quiet)):
        sizes = Counter(len(one) for one in sessions(log))
        of_ksc = ", ".join(f"{count} sessions of {size}" for size, count in sizes.most_common())
        ours = sum(one["server"] == "connectwise" for one in log)
        each = f"{ours} ConnectWise requests, {ours / options.clients:.2f} an agreement"
        print(f"{name:<20} Security Center: {of_ksc}; {each}", flush=True)
