"""Whole processes, in turn: what each takes, and how they compare."""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple


class Cost(NamedTuple):
    """Seconds of one process."""

    wall: float
    cpu: float


def cost(*arguments: str) -> Cost:
    """Runs the interpreter once, to its end."""
    begun, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    wall, now = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"{arguments}: {done.returncode}\n{done.stderr}")
    return Cost(wall, now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime)


def compare(title: str, actions: Mapping[str, Callable[[], Cost]], base: str, rounds: int) -> None:
    """Runs all of them `rounds` times in turn; prints medians, ranges, and ratios to `base`."""
    taken: dict[str, list[Cost]] = {name: [] for name in actions}
    for _ in range(rounds):
        for name, action in actions.items():
            taken[name].append(action())
    print(f"\n{title}; {rounds} rounds in turn, median (least to most)")
    print(f"{'':<34}{'seconds':>24}{'ratio':>8}{'CPU':>24}{'ratio':>8}")
    for name, costs in taken.items():
        cells = ""
        for kind in (0, 1):
            values, of = [x[kind] for x in costs], [x[kind] for x in taken[base]]
            spread = f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"
            cells += f"{spread:>24}{statistics.median(values) / statistics.median(of):>8.2f}"
        print(f"{name:<34}{cells}", flush=True)
