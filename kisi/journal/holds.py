"""What is held for a person, under which id, and which ids were accepted.

What an id accepts is kept line by line until the line is written, or asks for other numbers. An id
works once: it is used as soon as one of its lines is written. If all of them ask for other numbers
first, it has released nothing, and may be given again should the numbers come back. A written line
counts as accepted once more, so that the same change has another id should it ever be held again,
and its baseline starts anew.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

from kisi.errors import Withheld
from kisi.journal.clients import Clients
from kisi.journal.codec import from_epoch, from_row, pack
from kisi.journal.records import HeldPlan
from kisi.model import Company, LineSlot, Plan, PlannedLine, Status

_WHOLE = 0
"""Stands for the client of a whole plan's id."""
_SELECT = """
    SELECT plan.*, plan.id AS plan_id, coalesce(client.name, '') AS name,
        coalesce(client.psa, '') AS psa, coalesce(client.company, '') AS company,
        coalesce(client.agreement, '') AS agreement
    FROM plan LEFT JOIN client ON client.id = plan.client
"""


class Holds(Clients):
    """The tables `plan`, `accepted`, `used_id` and `accept`."""

    def record_plan(self, run_id: int, at: datetime, plan: Plan) -> None:
        """Keeps what each id of `plan` stands for, and closes what its clients held before.

        A client that failed was not judged: what it held before stays open. Called with the
        guarded plan, and once more with what is left after accepts were applied.
        """
        with self._db.transaction():
            self._db.execute("UPDATE plan SET open = 0 WHERE client = ? AND open", _WHOLE)
            everything: list[PlannedLine] = []
            for one in plan.companies:
                company = one.company
                client = self._client(company)
                held = [line for line in one.lines if line.hold is not None]
                if one.status is not Status.FAILED:
                    self._db.execute(
                        "UPDATE plan SET open = 0 WHERE client = ? AND open AND id != ?",
                        *(client, one.plan_id if held else ""),
                    )
                if held:
                    everything += held
                    self._keep(run_id, at, one.plan_id, client, held)
            if everything:
                self._keep(run_id, at, plan.plan_id, _WHOLE, everything)

    def _keep(
        self, run_id: int, at: datetime, plan_id: str, client: int, lines: list[PlannedLine]
    ) -> None:
        self._db.execute(
            "INSERT INTO plan (id, client, first_run, first_at, last_run, last_at, open, lines)"
            " VALUES (?, ?, ?, ?, ?, ?, 1, ?) ON CONFLICT (id, client) DO UPDATE SET"
            " last_run = excluded.last_run, last_at = excluded.last_at, open = 1,"
            " lines = excluded.lines",
            *(plan_id, client, run_id, at, run_id, at, pack(lines)),
        )

    def held_plan(self, plan_id: str) -> HeldPlan | None:
        """What an id stood for when a run last showed it; None if no run did."""
        row = self._db.row(
            f"{_SELECT} WHERE plan.id = ? ORDER BY plan.last_run DESC LIMIT 1", plan_id
        )
        return None if row is None else from_row(HeldPlan, row)

    def open_holds(self) -> tuple[HeldPlan, ...]:
        """What waits for a person, one entry a client, with the id that releases it."""
        rows = self._db.rows(
            f"{_SELECT} WHERE plan.open AND plan.client != ? ORDER BY client.name, plan.id", _WHOLE
        )
        return tuple(from_row(HeldPlan, row) for row in rows)

    def _prune_plans(self, before: datetime) -> None:
        """Inside a transaction: forgets closed ids that no run has shown since an instant."""
        self._db.execute("DELETE FROM plan WHERE last_at < ? AND NOT open", before)

    def refuse_used(self, plan_id: str) -> None:
        """Makes sure that nobody has accepted an id yet.

        Raises:
            Withheld: Somebody has; says who and when.
        """
        row = self._db.row("SELECT * FROM used_id WHERE id = ?", plan_id)
        if row is not None:
            raise Withheld(
                f"The id {plan_id} was accepted before, by {row['who']} at"
                f" {from_epoch(row['at']):%Y-%m-%d %H:%M} UTC in run {row['run']};"
                " an id works once. Nothing was written.",
                remedy="`kisi preview` shows the current ids.",
            )

    def accept(
        self, plan_id: str, run_id: int, at: datetime, who: str, keys: Mapping[str, Company]
    ) -> None:
        """Keeps which lines an id accepts, by their keys, each with its client.

        Raises:
            Withheld: The id was used before; nothing was changed.
        """
        with self._db.transaction():
            self.refuse_used(plan_id)
            for key, company in keys.items():
                client = self._client(company)
                self._db.execute(
                    "INSERT OR REPLACE INTO accepted VALUES (?, ?, ?, ?, ?, ?)",
                    *(key, client, plan_id, run_id, at, who),
                )

    def accepted(self) -> frozenset[str]:
        """The keys of the lines that were accepted and are not written yet."""
        return frozenset(row["key"] for row in self._db.rows("SELECT key FROM accepted"))

    def use_accepted(
        self, written: Iterable[PlannedLine], waiting: Iterable[tuple[Company, Collection[str]]]
    ) -> None:
        """Ends what was accepted and is written now, or asks for other numbers.

        Args:
            written: The lines that a guard held, that were accepted, and that are written now, each
                with the hold that was lifted. Each counts as accepted once more, its baseline
                starts anew, and its id is used.
            waiting: Each client that was planned, with the keys of the lines that guards still
                hold. What else was accepted of it is accepted no more.
        """
        lines = tuple(written)
        done = {line.hold.key for line in lines if line.hold is not None}
        with self._db.transaction():
            for client, product, line_id in {
                (
                    self._client_id(line.psa, line.company, line.agreement),
                    line.product,
                    line.line_id,
                )
                for line in lines
            }:
                self._db.execute(
                    "INSERT INTO accept VALUES (?, ?, 1)"
                    " ON CONFLICT (client, product) DO UPDATE SET times = times + 1",
                    *(client, product),
                )
                self._db.execute(
                    "UPDATE line SET baseline_after = coalesce((SELECT max(id) FROM line_quantity"
                    " WHERE line_quantity.line = line.id AND id < line.current), baseline_after)"
                    " WHERE client = ? AND line_id = ?",
                    *(client, line_id),
                )
            rows = self._db.rows("SELECT * FROM accepted")
            still = {self._client(one): keys for one, keys in (waiting if rows else ())}
            for row in rows:
                if row["key"] in still.get(row["client"], {row["key"]}):
                    continue
                self._db.execute("DELETE FROM accepted WHERE key = ?", row["key"])
                if row["key"] in done:
                    self._db.execute(
                        "INSERT OR IGNORE INTO used_id VALUES (?, ?, ?, ?)",
                        *(row["id"], row["run"], row["at"], row["who"]),
                    )

    def accept_counts(self) -> Mapping[LineSlot, int]:
        """How often changes of a line were accepted, also of lines that kisi does not own."""
        rows = self._db.rows(
            "SELECT psa, agreement, product, times"
            " FROM accept JOIN client ON client.id = accept.client"
        )
        return {
            LineSlot(row["psa"], row["agreement"], row["product"]): row["times"] for row in rows
        }
