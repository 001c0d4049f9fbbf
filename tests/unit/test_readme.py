"""The example of the pure core in README is true, and so are the guards that the pages list."""

import doctest
import re
from pathlib import Path

from kisi.planning import GUARDS

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def test_the_examples_in_readme_are_true():
    results = doctest.testfile(str(README), module_relative=False)
    assert results.attempted > 5
    assert results.failed == 0


def test_what_is_held_and_what_fails_is_listed_apart():
    held, failing = _guards("Holds"), _guards("Clients that fail")
    assert {guard.name for guard in GUARDS} <= held
    assert {"agreement", "account", "product", "tenant-missing", "psa", "bug"} <= failing
    assert held & failing == {"ambiguous", "psa"}  # of one new line, or of a whole client


def _guards(chapter: str) -> set[str]:
    text = OPERATIONS.partition(f"\n## {chapter}\n")[2].partition("\n## ")[0]
    firsts = re.findall(r"^\| ([a-z, -]+) \|", text, re.MULTILINE)
    return {name for first in firsts[1:] for name in first.split(", ")}  # without the heading
