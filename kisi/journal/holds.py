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
from sqlite3 import Row

from kisi.errors import Withheld
from kisi.journal.clients import client_id
from kisi.journal.codec import from_epoch, pack, unpack
from kisi.journal.database import Database
from kisi.journal.past import HeldPlan
from kisi.model import Company, LineSlot, Plan, PlannedLine, Status

_WHOLE = 0
"""Stands for the client of a whole plan's id."""
_SELECT = """
    SELECT plan.*, coalesce(client.name, '') AS name, coalesce(client.psa, '') AS psa,
        coalesce(client.company, '') AS company, coalesce(client.agreement, '') AS agreement
    FROM plan LEFT JOIN client ON client.id = plan.client
"""


def record_plan(db: Database, run_id: int, at: datetime, plan: Plan) -> None:
    """Keeps what each id of `plan` stands for, and closes what its clients held before.

    A client that failed was not judged: what it held before stays open.
    """
    with db.transaction():
        db.execute("UPDATE plan SET open = 0 WHERE client = ? AND open", _WHOLE)
        everything: list[PlannedLine] = []
        for one in plan.companies:
            company = one.company
            client = client_id(db, company.psa, company.company, company.agreement, company.name)
            held = _held(one.lines)
            if one.status is not Status.FAILED:
                db.execute(
                    "UPDATE plan SET open = 0 WHERE client = ? AND open AND id != ?",
                    *(client, one.plan_id if held else ""),
                )
            if held:
                everything += held
                _keep(db, run_id, at, one.plan_id, client, held)
        if everything:
            _keep(db, run_id, at, plan.plan_id, _WHOLE, everything)


def _held(lines: Iterable[PlannedLine]) -> list[PlannedLine]:
    return [line for line in lines if line.hold is not None]


def _keep(
    db: Database, run_id: int, at: datetime, plan_id: str, client: int, lines: list[PlannedLine]
) -> None:
    db.execute(
        "INSERT INTO plan (id, client, first_run, first_at, last_run, last_at, open, lines)"
        " VALUES (?, ?, ?, ?, ?, ?, 1, ?) ON CONFLICT (id, client) DO UPDATE SET"
        " last_run = excluded.last_run, last_at = excluded.last_at, open = 1,"
        " lines = excluded.lines",
        *(plan_id, client, run_id, at, run_id, at, pack(lines)),
    )


def held_plan(db: Database, plan_id: str) -> HeldPlan | None:
    """What an id stood for when a run last showed it; None if no run did."""
    row = db.row(f"{_SELECT} WHERE plan.id = ? ORDER BY plan.last_run DESC LIMIT 1", plan_id)
    return None if row is None else _plan(row)


def open_holds(db: Database) -> tuple[HeldPlan, ...]:
    """What waits for a person, a client each, by name."""
    rows = db.rows(
        f"{_SELECT} WHERE plan.open AND plan.client != ? ORDER BY client.name, plan.id", _WHOLE
    )
    return tuple(_plan(row) for row in rows)


def _plan(row: Row) -> HeldPlan:
    return HeldPlan(
        plan_id=row["id"],
        name=row["name"],
        psa=row["psa"],
        company=row["company"],
        agreement=row["agreement"],
        lines=unpack(tuple[PlannedLine, ...], row["lines"]),
        first_run=row["first_run"],
        first_at=from_epoch(row["first_at"]),
        last_run=row["last_run"],
        last_at=from_epoch(row["last_at"]),
        open=bool(row["open"]),
    )


def prune(db: Database, before: datetime) -> None:
    """Inside a transaction: forgets closed ids that no run has shown since an instant."""
    db.execute("DELETE FROM plan WHERE last_at < ? AND NOT open", before)


def refuse_used(db: Database, plan_id: str) -> None:
    """Makes sure that nobody has accepted an id yet.

    Raises:
        Withheld: Somebody has; says who and when.
    """
    row = db.row("SELECT * FROM used_id WHERE id = ?", plan_id)
    if row is not None:
        raise Withheld(
            f"The id {plan_id} was accepted before, by {row['who']} at"
            f" {from_epoch(row['at']):%Y-%m-%d %H:%M} UTC in run {row['run']}; an id works once."
            " Nothing was written.",
            remedy="`kisi preview` shows the current ids.",
        )


def accept(
    db: Database, plan_id: str, run_id: int, at: datetime, who: str, keys: Mapping[str, Company]
) -> None:
    """Keeps which lines an id accepts.

    Raises:
        Withheld: The id was used before; nothing was changed.
    """
    with db.transaction():
        refuse_used(db, plan_id)
        for key, company in keys.items():
            client = client_id(db, company.psa, company.company, company.agreement, company.name)
            db.execute(
                "INSERT OR REPLACE INTO accepted VALUES (?, ?, ?, ?, ?, ?)",
                *(key, client, plan_id, run_id, at, who),
            )


def accepted(db: Database) -> frozenset[str]:
    """The keys of the lines that were accepted and are not written yet."""
    return frozenset(row["key"] for row in db.rows("SELECT key FROM accepted"))


def use_accepted(
    db: Database, written: Iterable[PlannedLine], waiting: Iterable[tuple[Company, Collection[str]]]
) -> None:
    """Ends what was accepted and is written now, or asks for other numbers.

    Args:
        db: The journal.
        written: The lines that a guard held, that were accepted, and that are written now, each
            with the hold that was lifted.
        waiting: Each client that was planned, with the keys of the lines that guards still hold.
    """
    lines = tuple(written)
    done = {line.hold.key for line in lines if line.hold is not None}
    with db.transaction():
        for client, product, line_id in {
            (_client_of(db, line), line.product, line.line_id) for line in lines
        }:
            db.execute(
                "INSERT INTO accept VALUES (?, ?, 1)"
                " ON CONFLICT (client, product) DO UPDATE SET times = times + 1",
                *(client, product),
            )
            db.execute(
                "UPDATE line SET baseline_after = coalesce((SELECT max(id) FROM line_quantity"
                " WHERE line_quantity.line = line.id AND id < line.current), baseline_after)"
                " WHERE client = ? AND line_id = ?",
                *(client, line_id),
            )
        rows = db.rows("SELECT * FROM accepted")
        still = {
            client_id(db, one.psa, one.company, one.agreement, one.name): keys
            for one, keys in (waiting if rows else ())
        }
        for row in rows:
            if row["key"] in still.get(row["client"], {row["key"]}):
                continue
            db.execute("DELETE FROM accepted WHERE key = ?", row["key"])
            if row["key"] in done:
                db.execute(
                    "INSERT OR IGNORE INTO used_id VALUES (?, ?, ?, ?)",
                    *(row["id"], row["run"], row["at"], row["who"]),
                )


def _client_of(db: Database, line: PlannedLine) -> int:
    row = db.row("SELECT id FROM client WHERE psa = ? AND agreement = ?", line.psa, line.agreement)
    return client_id(db, line.psa, line.company, line.agreement, "") if row is None else row["id"]


def accept_counts(db: Database) -> Mapping[LineSlot, int]:
    """How often changes of (PSA, agreement, product) were accepted, owned lines or not."""
    rows = db.rows(
        "SELECT psa, agreement, product, times FROM accept JOIN client ON client.id = accept.client"
    )
    return {LineSlot(row["psa"], row["agreement"], row["product"]): row["times"] for row in rows}
