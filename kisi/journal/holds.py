"""What is held for a person, under which id, and which ids were accepted.

An id works once. Accepting it counts for every line it released, so that the same change has
another id should it ever be held again, and starts the baselines of those lines anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from sqlite3 import Row

from kisi.errors import Withheld
from kisi.journal.clients import client_id
from kisi.journal.codec import from_epoch, pack, unpack
from kisi.journal.database import Database
from kisi.journal.past import HeldPlan
from kisi.model import Plan, PlannedLine, Status

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


def use(
    db: Database,
    plan_id: str,
    run_id: int,
    at: datetime,
    who: str,
    lines: Iterable[PlannedLine],
) -> None:
    """Uses up an id for the lines that it releases.

    Raises:
        Withheld: The id was used before; nothing was changed.
    """
    with db.transaction():
        refuse_used(db, plan_id)
        db.execute("INSERT INTO used_id VALUES (?, ?, ?, ?)", plan_id, run_id, at, who)
        accepted = set()
        for line in lines:
            client = _client_of(db, line)
            accepted.add((client, line.product))
            db.execute(
                "UPDATE line SET baseline_after = coalesce(current, 0)"
                " WHERE client = ? AND line_id = ?",
                *(client, line.line_id),
            )
        for client, product in accepted:
            db.execute(
                "INSERT INTO accept VALUES (?, ?, 1)"
                " ON CONFLICT (client, product) DO UPDATE SET times = times + 1",
                *(client, product),
            )


def _client_of(db: Database, line: PlannedLine) -> int:
    row = db.row("SELECT id FROM client WHERE psa = ? AND agreement = ?", line.psa, line.agreement)
    return client_id(db, line.psa, line.company, line.agreement, "") if row is None else row["id"]


def accept_counts(db: Database) -> Mapping[tuple[str, str, str], int]:
    """How often changes of (PSA, agreement, product) were accepted, owned lines or not."""
    rows = db.rows(
        "SELECT psa, agreement, product, times FROM accept JOIN client ON client.id = accept.client"
    )
    return {(row["psa"], row["agreement"], row["product"]): row["times"] for row in rows}
