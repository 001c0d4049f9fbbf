"""`python -m tests.unit.worlds SEED`: the story of one world. `... SEED NUMBER`: so many worlds."""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter

from tests.unit.worlds.judge import Broken
from tests.unit.worlds.lives import live, many


def tell(seed: int) -> int:
    story: list[str] = []
    try:
        live(seed, story)
    except Broken as error:
        story.append(f"!!! {error}")
    sys.stdout.write("\n".join([*story, ""]))
    return int(story[-1].startswith("!!!"))


def run(seed: int, number: int) -> int:
    began = time.perf_counter()
    broken = many(range(seed, seed + number))
    lines = [f"{one}: {' '.join(text.split())[:200]}" for one, text in broken.items()]
    kinds = dict(Counter(text.partition(":")[0] for text in broken.values()))
    took = time.perf_counter() - began
    lines.append(f"{number} worlds in {took:.0f} s; broken promises: {kinds or 'none'}")
    sys.stdout.write("\n".join([*lines, ""]))
    return bool(broken)


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    numbers = [int(text) for text in sys.argv[1:]]
    sys.exit(tell(*numbers) if len(numbers) == 1 else run(*numbers))
