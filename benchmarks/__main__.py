"""Prints the tables; each is a module with `table(options)`."""

from __future__ import annotations

import argparse

from benchmarks import peers, run, scale, start

TABLES = {"start": start, "peers": peers, "run": run, "scale": scale}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"{', '.join(TABLES)}; all")
    parser.add_argument("--rounds", type=int, default=5, help="repetitions, in turn (5)")
    parser.add_argument("--clients", type=int, default=100, help="of peers and run (100)")
    parser.add_argument("--devices", type=int, default=100, help="a client has (100)")
    parser.add_argument("--delay", type=float, default=0.05, help="seconds a request (0.05)")
    parser.add_argument("--largest", type=int, default=10_000, help="clients in scale (10000)")
    options = parser.parse_args()
    for name in options.tables or TABLES:
        TABLES[name].table(options)
