"""The simulated systems in a process of their own, and the handle that asks it for things.

Over stdin and stdout, one JSON value a line: `change` lets ten clients use a licence more, `log`
gives every request since the last `change`.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.timing import cost
from kisi.sandbox import Sandbox
from kisi.sandbox.world import World

PRODUCTS, CHANGES = 5, 10
_KEPT = ("authorization", "clientid", "content-type", "accept", "pagination-type", "x-ksc-vserver")


def world(clients: int, devices: int) -> World:
    """Clients that use five applications each; the first on all devices, the others on three."""
    made = World()
    names = [f"Kaspersky Application {letter}" for letter in "ABCDE"[:PRODUCTS]]
    for name in names:
        made.billing.bill(name, all=made.product(name).id)
    for number in range(clients):
        client = made.client(f"Client {number:05}", application=names[0], workstations=devices)
        for name in names[1:]:
            client.key(name, kind="commercial", devices=client.devices()[:3])
    return made


def serve(folder: str, clients: str, devices: str) -> None:
    """The process: serves until stdin ends."""
    with Sandbox(world(int(clients), int(devices))) as sandbox:
        config, chosen = sandbox.write_config(Path(folder)), sandbox.world.clients[:CHANGES]
        answer: Any = {"config": str(config), "ksc": sandbox.ksc_server.url}
        answer |= {"cw": sandbox.cw_server.url, "company": sandbox.cw.company}
        answer |= {x: getattr(sandbox.cw, x) for x in ("client_id", "public_key", "private_key")}
        answer["agreements"] = [each.agreement_id for each in sandbox.world.clients]
        print(json.dumps(answer), flush=True)
        for line in sys.stdin:
            asked, *arguments = json.loads(line)
            if asked == "slow":
                sandbox.faults.add("slow", match=arguments[0], times=None, seconds=arguments[1])
                answer = None
            elif asked == "change":
                for client in chosen:
                    client.server.keys[1].use(client.server.add_device(client.devices()[0].system))
                sandbox.log.clear()
                answer = [[x.agreement_id, x.additions[1].id] for x in chosen if x.additions]
            else:
                answer = [
                    {
                        "server": one.server,
                        "method": one.method,
                        "path": one.path,
                        "query": dict(one.query),
                        "headers": {k: v for k, v in one.headers.items() if k in _KEPT},
                        "session": one.headers.get("x-ksc-session", ""),
                        "body": base64.b64encode(one.body).decode(),
                    }
                    for one in list(sandbox.log)
                ]
            print(json.dumps(answer), flush=True)


class Servers:
    """The handle: `known` is where what is served, and `ask` asks the process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.known = self._answer()

    def ask(self, *request: object) -> Any:
        assert self._process.stdin is not None
        print(json.dumps(request), file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def sync(self) -> tuple[str, ...]:
        """The arguments of a quiet run."""
        return ("-m", "kisi", "sync", "--quiet", "--config", self.known["config"])


@contextmanager
def servers(options: Namespace) -> Iterator[Servers]:
    """Starts the process; every line is billed already."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = [folder, str(options.clients), str(options.devices)]
        command = [sys.executable, "-m", "benchmarks.servers", *arguments]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            handle = Servers(process)
            cost(*handle.sync())
            yield handle
            assert process.stdin is not None
            process.stdin.close()


if __name__ == "__main__":
    serve(*sys.argv[1:])
