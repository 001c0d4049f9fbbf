"""SECURITY.md names tests for its promises, and they exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_promise_names_tests_that_exist():
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    promises = text[text.index("## What it promises") : text.index("### Numbers")]
    named = set(re.findall(r"`(test_\w+)`", promises))
    there = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(
            r"^\s*def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE
        )
    }
    assert named - there == set()
    for promise in promises.split("\n* ")[1:]:
        assert "`test_" in promise, promise
