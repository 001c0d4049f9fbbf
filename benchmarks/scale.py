"""scale: fleets of 10 to 10,000 clients. Readings and lines are made in the process.

Servers would bind long before: here is seen what kisi itself takes. Lines are to be read once an
agreement. The third of three daily runs is measured, in which nothing changes, and then each
command that looks at one client or lists all, in a process for each size. A request costs the CPU
of the run, divided by the requests that the same day would send (docs/scaling.md).
"""

from __future__ import annotations

import io
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Collection, Iterator
from contextlib import redirect_stderr, redirect_stdout
from datetime import timedelta
from pathlib import Path
from typing import Any

import kisi
from kisi.cli import run
from kisi.model import Key, Tenant, TenantRef
from kisi.run import setup
from kisi.transport import Clock
from tests.unit.build import KES, device, key, reading, row
from tests.unit.fakes import FakePsa

DEVICES = 100
LOOKS = {
    "status": ("status",),
    "explain": ("explain", "Client 7"),
    "preview": ("preview", "--client", "Client 7"),
    "map list": ("map", "list"),
}
"""Commands whose CPU is measured after the runs."""


class Made:
    """A kind of source or PSA that is there already."""

    def __init__(self, kind: Any, system: Any) -> None:
        self.settings, self.system = kind.settings, system

    def open(self, *_: object, **__: object) -> Any:
        return self.system


def fleet(clients: int, devices: int) -> tuple[Any, Any, str]:
    """A source, a PSA, and mapping.toml."""

    class Source:
        name = "hq"

        def tenants(self) -> tuple[Tenant, ...]:
            ids = range(clients)
            return tuple(Tenant(TenantRef("hq", f"V{n}"), f"Client {n}") for n in ids)

        def read(self, tenants: Collection[Tenant], select: Callable[[Key], bool]) -> Iterator[Any]:
            keys = [key(used=devices)]
            for one in tenants:
                asked = range(devices if select(keys[0]) else 0)
                some = [device(f"{one.ref.tenant}-{n}") for n in asked]
                yield one.ref, reading(some, [row(x.id) for x in some], keys, of=one)

        def address(self) -> None:
            return None

        def clock_skew(self) -> None:
            return None

        def close(self) -> None:
            pass

    psa = FakePsa("cw", workers=4)
    rows = [f'[[application]]\nname = "{KES}"\n[[product]]\napplication = "{KES}"\nall = 1200\n']
    for n in range(clients):
        psa.agreement(str(n), str(10**6 + n), name=f"Client {n}")
        rows.append(
            f'[[company]]\nname = "Client {n}"\ntenants = ["hq:V{n}"]\n'
            f'company = "{n}"\nagreement = {10**6 + n}\n'
        )
    return Source(), psa, "".join(rows)


def days(clients: int, devices: int) -> dict[str, float]:
    """Three runs, a day apart; what the last one took, and what looking at it takes."""
    source, psa, mapping = fleet(clients, devices)
    setup.SOURCES["ksc"] = Made(setup.SOURCES["ksc"], source)  # type: ignore[assignment]
    setup.PSAS["connectwise"] = Made(setup.PSAS["connectwise"], psa)  # type: ignore[assignment]
    now, sizes = Clock.now, [0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        secrets = ("password", "public_key", "private_key", "client_id")
        (folder / "secret").write_text("not a secret", encoding="utf-8")
        (folder / "secret").chmod(0o600)
        lines = {each: f'{each} = "file:secret"' for each in secrets}
        (folder / "kisi.toml").write_text(
            'state_dir = "state"\ntimezone = "UTC"\n[guards]\ncreate_units = 1e9\n'
            f'[sources.hq]\nkind = "ksc"\nurl = "https://ksc"\nuser = "kisi"\n{lines["password"]}\n'
            '[psa.cw]\nkind = "connectwise"\nurl = "https://cw"\ncompany = "acme"\n'
            + "\n".join(lines[each] for each in secrets[1:]),
            encoding="utf-8",
        )
        (folder / "mapping.toml").write_text(mapping, encoding="utf-8")
        for day in range(3):
            Clock.now = lambda self, day=day: now(self) + timedelta(days=day)  # type: ignore[method-assign]
            asked, begun = len(psa.looks), time.process_time()
            result = kisi.sync(folder / "kisi.toml", deadline=86_400.0)
            if result.exit_code:
                raise RuntimeError(result.last_line)
            cpu, looks = time.process_time() - begun, len(psa.looks) - asked
            state = (folder / "state").iterdir()
            sizes.append(sum(x.stat().st_size for x in state if x.suffix != ".log"))
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        result = {"cpu": cpu, "looks": looks, "memory": most, "growth": sizes[-1] - sizes[-2]}
        return result | {
            name: cpu_of(*line, "-c", str(folder / "kisi.toml")) for name, line in LOOKS.items()
        }


def cpu_of(*command: str) -> float:
    """The seconds of CPU that a command takes, with what it loads."""
    begun = time.process_time()
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        code = run(command)
    if code:
        raise RuntimeError(f"{command}: {code}")
    return time.process_time() - begun


def table(options: Namespace) -> None:
    """A line a size."""
    print(f"\nscale: {DEVICES} devices a client, a day without changes")
    heads = (
        "clients",
        "reads of lines",
        "CPU s",
        "us a request",
        "us a device",
        "MB",
        "bytes a day",
    )
    print("".join(f"{head:>15}" for head in (*heads, *LOOKS)))
    print("bytes a day: of a client, in the journal; the last columns: seconds of CPU")
    size = 10
    while size <= options.largest:
        command = [sys.executable, "-m", "benchmarks.scale", str(size), str(DEVICES)]
        got = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        cpu, growth = got["cpu"], got["growth"] / size
        requests = 9 * size + got["looks"] + math.ceil(size / 100)
        each = (cpu / requests * 1e6, cpu / size / DEVICES * 1e6)
        cells = [f"{size:,}", f"{got['looks']:,}", f"{cpu:.2f}", *(f"{x:.1f}" for x in each)]
        cells += [f"{got['memory']:.0f}", f"{growth:.0f}", *(f"{got[x]:.2f}" for x in LOOKS)]
        print("".join(f"{cell:>15}" for cell in cells), flush=True)
        size *= 10


if __name__ == "__main__":
    print(json.dumps(days(*map(int, sys.argv[1:]))))
