"""How much slower than a bare Typer program is `kisi --help`?"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

ROUNDS = 15
BARE = """
import typer
app = typer.Typer()
for name in "abcdefghi":
    app.command(name)(lambda: None)
app()
"""


def seconds(*arguments: str) -> float:
    """One run of the interpreter."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    return time.perf_counter() - started


def figures() -> Iterator[tuple[str, str, str]]:
    """Name, measured, target; the two programs take turns."""
    pairs = [
        (seconds("-m", "kisi", "--help"), seconds("-c", BARE, "--help")) for _ in range(ROUNDS)
    ]
    ratio = statistics.median(ours / bare for ours, bare in pairs)
    yield "time of kisi --help / of a bare Typer program", f"{ratio:.2f}", "at most 1.3"
