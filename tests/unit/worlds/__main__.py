"""`python -m tests.unit.worlds SEED`: the story of one world. With a second number: so many."""

from __future__ import annotations

import sys
import time
from collections import Counter

from tests.unit.worlds.judge import Broken
from tests.unit.worlds.lives import live


def main(seed: int, number: int | None) -> int:
    if number is None:
        story: list[str] = []
        try:
            live(seed, story)
        except Broken as error:
            story.append(str(error))
            return 1
        finally:
            print("\n".join(story))
        return 0
    began, nights, broken = time.perf_counter(), 0, Counter()
    for one in range(seed, seed + number):
        try:
            nights += live(one)
        except Broken as error:
            broken[error.promise] += 1
            print(f"{one}: {str(error)[:300]}")
    took = time.perf_counter() - began
    print(f"{number} worlds, {nights} nights in {took:.1f} s ({nights / took:.0f} a second)")
    print(dict(broken) or "every promise was kept")
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None))
