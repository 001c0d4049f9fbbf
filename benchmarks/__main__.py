"""Prints every figure beside its target."""

from __future__ import annotations

from benchmarks import fleet, startup

if __name__ == "__main__":
    for part in (startup, fleet):
        for name, measured, target in part.figures():
            print(f"{name:<50} {measured:>6}   {target}", flush=True)
