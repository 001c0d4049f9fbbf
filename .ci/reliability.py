"""docs/reliability.md shows every row of the list of faults: its test, or why there is none.

The table is made from the marks `@pytest.mark.fault(row, injection=..., outcome=...)` of the tests
in tests/faults, and from tests/faults/not_applicable.py.
"""

import contextlib
import io
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.faults.not_applicable import NOT_APPLICABLE  # noqa: E402  # found in the root

ROWS = range(1, 68)
"""The rows that must be tested or explained."""
DOCUMENT = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- faults -->", "<!-- /faults -->"


@dataclass(frozen=True, order=True)
class Row:
    """A line of the table: what one test shows of a row of the list."""

    number: int
    place: int
    injection: str
    outcome: str
    test: str


class Marks:
    """A pytest plugin that collects the marks instead of running anything."""

    def __init__(self) -> None:
        self.rows: dict[tuple[int, str], Row] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Keeps each mark of each test once, in the order of the tests."""
        for item in items:
            for mark in item.iter_markers("fault"):
                (number,) = mark.args
                test = f"{item.path.name}::{getattr(item, 'originalname', item.name)}"
                row = Row(number, len(self.rows), **mark.kwargs, test=test)
                self.rows.setdefault((number, test), row)


def collect() -> list[Row]:
    """Every row that a test shows, by number.

    Raises:
        SystemExit: The tests cannot be collected.
    """
    marks, said = Marks(), io.StringIO()
    options = ["--collect-only", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:cov"]
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = pytest.main([*options, str(ROOT / "tests" / "faults")], plugins=[marks])
    if code:
        sys.exit(f"The tests of tests/faults cannot be collected:\n{said.getvalue()}")
    return sorted(row for row in marks.rows.values() if row.number in ROWS)


def table(rows: list[Row]) -> str:
    """The part of the document that is generated."""
    lines = ["| row | what goes wrong | what happens | test |", "|---|---|---|---|"]
    lines += [
        f"| {row.number} | {_cell(row.injection)} | {_cell(row.outcome)} | `{row.test}` |"
        for row in rows
    ]
    explained = [(number, why) for number, why in NOT_APPLICABLE.items() if number in ROWS]
    if explained:
        lines += ["", "| row | why there is no test |", "|---|---|"]
        lines += [f"| {number} | {_cell(why)} |" for number, why in sorted(explained)]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


def main() -> int:
    """Compares the document with the tests; with `--write` brings it up to date."""
    rows = collect()
    missing = set(ROWS) - {row.number for row in rows} - NOT_APPLICABLE.keys()
    if missing:
        print(f"Rows without a test or a reason: {', '.join(map(str, sorted(missing)))}")
    text = DOCUMENT.read_text(encoding="utf-8")
    wanted = f"{BEGIN}\n{table(rows)}\n{END}"
    fresh = re.sub(f"{BEGIN}.*?{END}", lambda _: wanted, text, flags=re.DOTALL)
    if BEGIN not in text:
        print(f"docs/reliability.md has no {BEGIN} ... {END}")
        return 1
    if "--write" in sys.argv:
        DOCUMENT.write_text(fresh, encoding="utf-8")
    elif fresh != text:
        print("docs/reliability.md is not as the tests are: run .ci/reliability.py --write")
        return 1
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
