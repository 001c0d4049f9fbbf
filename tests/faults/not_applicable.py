"""Rows of the list of faults that no test can show, and why; for `docs/reliability.md`."""

from __future__ import annotations

from collections.abc import Mapping

NOT_APPLICABLE: Mapping[int, str] = {
    42: "A test of the command cannot cut the power. It is shown on the journal itself: "
    "`tests/unit/journal/test_durability.py` copies the database and its log after every commit, "
    "cuts the log anywhere, and opens the copy: it is whole, with at most one write unsettled.",
    64: "There is no saved plan file that could be stale or tampered with. `--accept` takes an id, "
    "and what it releases is worked out anew: an id that does not match the current plan, or was used "
    "before, writes nothing (rows 23 and 39).",
}
