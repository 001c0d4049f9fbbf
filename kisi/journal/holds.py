"""What is held for a person, under which id, and which ids were accepted.

What an id accepts is kept line by line until the line is written, or asks for other numbers. An id
works once: it is used as soon as one of its lines is written; one that released nothing may come
again. A written line counts as accepted once more, so that the same change has another id then.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from kisi.errors import Withheld
from kisi.journal.database import from_row, loads, pack
from kisi.journal.runs import Runs
from kisi.model import Company, LineSlot, Plan, PlannedLine, Status

_WHOLE = 0
"""Stands for the client of a whole plan's id."""
_KEEP = """
    INSERT INTO plan (id, client, first_run, first_at, last_run, last_at, open, lines)
    VALUES (?, ?, ?, ?, ?, ?, 1, ?) ON CONFLICT (id, client) DO UPDATE SET
        last_run = excluded.last_run, last_at = excluded.last_at, open = 1, lines = excluded.lines
"""


@dataclass(frozen=True, slots=True)
class HeldPlan:
    """What is held of a client, under the id that releases it."""

    plan_id: str
    name: str
    psa: str
    company: str
    agreement: str
    lines: tuple[PlannedLine, ...]
    first_run: int
    first_at: datetime
    last_run: int
    last_at: datetime


class Holds(Runs):
    """The tables `plan`, `accepted`, `used_id` and `accept`."""

    def record_plan(self, run_id: int, at: datetime, plan: Plan) -> None:
        """Keeps what each id of `plan` stands for, and closes what its clients held before.

        A client that failed was not judged: what it held before stays open.
        """
        with self._transaction():
            self._execute("UPDATE plan SET open = 0 WHERE client = ? AND open", _WHOLE)
            everything = [line for line in plan.lines if line.hold is not None]
            kept = [(plan.plan_id, _WHOLE, everything)]
            for one in plan.companies:
                client = self._client(one.company)
                held = [line for line in one.lines if line.hold is not None]
                if one.status is not Status.FAILED:
                    close = "UPDATE plan SET open = 0 WHERE client = ? AND open AND id != ?"
                    self._execute(close, client, one.plan_id if held else "")
                kept.append((one.plan_id, client, held))
            for plan_id, client, lines in kept:
                if lines:
                    values = (plan_id, client, run_id, at, run_id, at, pack(lines))
                    self._execute(_KEEP, *values)

    def held_lines(self, plan_id: str) -> tuple[PlannedLine, ...]:
        """What an id, also a whole plan's, held when a run last showed it."""
        last = "SELECT lines FROM plan WHERE id = ? ORDER BY last_run DESC LIMIT 1"
        rows = self._rows(last, plan_id)
        return tuple(x for row in rows for x in loads(tuple[PlannedLine, ...], row["lines"]))

    def open_holds(self) -> tuple[HeldPlan, ...]:
        """What waits for a person, one entry a client, with the id that releases it."""
        rows = self._rows(
            "SELECT plan.*, plan.id AS plan_id, name, psa, company, agreement"
            " FROM plan JOIN client ON client.id = plan.client"
            " WHERE plan.open ORDER BY client.name, plan.id"
        )
        return tuple(from_row(HeldPlan, row) for row in rows)

    def refuse_used(self, plan_id: str) -> None:
        """Raises `Withheld` if somebody has accepted an id before; says who and when."""
        row = self._row("SELECT * FROM used_id WHERE id = ?", plan_id)
        if row is not None:
            raise Withheld(
                f"The id {plan_id} was accepted before, by {row['who']} at"
                f" {loads(datetime, row['at'], 'at'):%Y-%m-%d %H:%M} UTC in run {row['run']};"
                " an id works once. Nothing was written.",
                remedy="`kisi preview` shows the current ids.",
            )

    def accept(
        self, plan_id: str, run_id: int, at: datetime, who: str, keys: Mapping[str, Company]
    ) -> None:
        """Keeps which lines an id accepts, by their keys, each with its client.

        An id that was used before is `Withheld`; nothing is changed then.
        """
        with self._transaction():
            self.refuse_used(plan_id)
            for key, company in keys.items():
                values = (key, self._client(company), plan_id, run_id, at, who)
                self._execute("INSERT OR REPLACE INTO accepted VALUES (?, ?, ?, ?, ?, ?)", *values)

    def accepted(self) -> frozenset[str]:
        """The keys of the lines that were accepted and are not written yet."""
        return frozenset(row["key"] for row in self._rows("SELECT key FROM accepted"))

    def use_accepted(
        self, written: Iterable[PlannedLine], waiting: Iterable[tuple[Company, Collection[str]]]
    ) -> None:
        """Ends what was accepted and is `written` now (lines with the hold that was lifted).

        Each counts as accepted once more, its baseline starts anew, and its id is used. `waiting`
        is each client that was planned, with the keys of the lines that guards still hold: what
        else was accepted of it asks for other numbers now, and is accepted no more.
        """
        done: set[str] = set()
        changed: set[tuple[int, str, str | None, bool]] = set()
        with self._transaction():
            for line in written:
                client = self._client(line)
                changed.add((client, line.product, line.line_id, line.changes))
                done |= {line.hold.key} if line.hold else set()
            for client, product, line_id, is_written in changed:
                self._execute(
                    "INSERT INTO accept VALUES (?, ?, 1)"
                    " ON CONFLICT (client, product) DO UPDATE SET times = times + 1",
                    *(client, product),
                )
                self._execute(
                    # Where only the count was held, its quantity begins anew with the next run.
                    "UPDATE line SET baseline_after = coalesce((SELECT max(id) FROM line_quantity"
                    " WHERE line_quantity.line = line.id AND id < line.current + ?),"
                    " baseline_after) WHERE client = ? AND line_id = ?",
                    *(not is_written, client, line_id),
                )
            rows = self._rows("SELECT * FROM accepted")
            still = {self._client(one): keys for one, keys in (waiting if rows else ())}
            for row in rows:
                if row["key"] in still.get(row["client"], {row["key"]}):
                    continue
                self._execute("DELETE FROM accepted WHERE key = ?", row["key"])
                if row["key"] in done:
                    values = (row["id"], row["run"], row["at"], row["who"])
                    self._execute("INSERT OR IGNORE INTO used_id VALUES (?, ?, ?, ?)", *values)

    def accept_counts(self) -> Mapping[LineSlot, int]:
        """How often changes of a line were accepted, also of lines that kisi does not own."""
        rows = self._rows(
            "SELECT psa, agreement, product, times"
            " FROM accept JOIN client ON client.id = accept.client"
        )
        return {LineSlot(*row[:3]): row["times"] for row in rows}
