"""Rows of the list of faults that no test can show, and why; for `docs/reliability.md`."""

from __future__ import annotations

from collections.abc import Mapping

NOT_APPLICABLE: Mapping[int, str] = {
    64: "There is no saved plan file that could be stale or tampered with. `--accept` takes an id, "
    "and what it releases is worked out anew: an id that does not fit the plan of now, or was used "
    "before, writes nothing (rows 23 and 39).",
}
