"""The lines that kisi owns, and every quantity they were proven to hold.

A quantity is kept as a range of runs: a run that proves the same quantity again moves the range's
end and adds nothing. The *baseline* of a line starts anew when a person accepted a change of it:
ranges up to `baseline_after` do not count for it any more.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from sqlite3 import Row

from kisi.journal.clients import client_id
from kisi.journal.codec import dumps, loads, quantity_text
from kisi.journal.database import Database
from kisi.journal.records import ConfirmedLine, LineKey
from kisi.model import Outcome, OwnedLine, TenantRef, categories_of, category_text

_OWNED = """
    SELECT line.*, client.psa, client.company, client.agreement, line_quantity.quantity,
        EXISTS (SELECT 1 FROM operation
            WHERE operation.settled = 0 AND operation.client = line.client
            AND operation.product = line.product
            AND (operation.line_id IS NULL OR operation.line_id = line.line_id)) AS unsettled
    FROM line JOIN client ON client.id = line.client
        JOIN line_quantity ON line_quantity.id = line.current
    WHERE line.owned ORDER BY client.psa, client.agreement, line.line_id
"""
_BASELINE = """
    SELECT line.id, line_quantity.quantity
    FROM line JOIN line_quantity ON line_quantity.line = line.id
    WHERE line.owned AND line_quantity.id > line.baseline_after AND line_quantity.last_at >= ?
"""
_DESCRIBED = ("product", "name", "application", "categories", "tenants", "proven")


def facts(db: Database, now: datetime, baseline_days: int) -> tuple[OwnedLine, ...]:
    """What is known of every owned line, ordered by PSA, agreement and line id."""
    with db.snapshot():
        seen: dict[int, list[Decimal]] = {}
        for row in db.rows(_BASELINE, now - timedelta(days=baseline_days)):
            seen.setdefault(row["id"], []).append(Decimal(row["quantity"]))
        return tuple(_fact(row, seen.get(row["id"], [])) for row in db.rows(_OWNED))


def _fact(row: Row, seen: list[Decimal]) -> OwnedLine:
    confirmed = Decimal(row["quantity"])
    return OwnedLine(
        psa=row["psa"],
        company=row["company"],
        agreement=row["agreement"],
        line_id=row["line_id"],
        product=row["product"],
        application=row["application"],
        categories=categories_of(row["categories"]),
        name=row["name"],
        tenants=loads(tuple[TenantRef, ...], row["tenants"]),
        confirmed=confirmed,
        highest=max((confirmed, *seen)),
        lowest=min((confirmed, *seen)),
        unsettled=bool(row["unsettled"]),
        proven=row["proven"],
    )


def confirm_line(db: Database, run_id: int, at: datetime, line: ConfirmedLine) -> None:
    """Inside a transaction: the line is kisi's, and held this quantity in this run.

    What it bills (application, categories, tenants, the readings of this run) is as told. A line
    that was owned and is not settled goes on to stand for what it billed before.

    What an earlier write did to the line is beside the point from now on: its unknown outcome is
    settled.
    """
    client = client_id(db, line.psa, line.company, line.agreement, line.name)
    _prove(db, run_id, at, client, line)
    db.execute(
        "UPDATE operation SET settled = 1 WHERE settled = 0 AND outcome = ? AND client = ?"
        " AND product = ? AND (line_id IS NULL OR line_id = ?)",
        *(Outcome.UNKNOWN, client, line.product, line.line_id),
    )


def own_line(db: Database, run_id: int, at: datetime, line: ConfirmedLine) -> None:
    """Inside a transaction: as `confirm_line` for a line that is not owned yet, settling nothing.

    Of a line that is owned, what was last confirmed stays: that it holds something else now is what
    a person must see.
    """
    client = client_id(db, line.psa, line.company, line.agreement, line.name)
    owned = "SELECT id FROM line WHERE client = ? AND line_id = ? AND owned"
    if db.row(owned, client, line.line_id) is None:
        _prove(db, run_id, at, client, line)


def _prove(db: Database, run_id: int, at: datetime, client: int, line: ConfirmedLine) -> None:
    row = _line_row(db, run_id, client, line)
    current = row["current"]
    last = db.row("SELECT * FROM line_quantity WHERE id = ?", current)
    quantity = quantity_text(line.quantity)
    if last and last["quantity"] == quantity and current > row["baseline_after"]:
        db.execute(
            "UPDATE line_quantity SET last_run = max(last_run, ?), last_at = ? WHERE id = ?",
            *(run_id, at, current),
        )
    else:
        current = db.execute(
            "INSERT INTO line_quantity (line, quantity, first_run, first_at, last_run, last_at)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            *(row["id"], quantity, run_id, at, run_id, at),
        )
        db.execute("UPDATE line SET current = ? WHERE id = ?", current, row["id"])


def _line_row(db: Database, run_id: int, client: int, line: ConfirmedLine) -> Row:
    """The line's row, made or brought up to date."""
    find = "SELECT * FROM line WHERE client = ? AND line_id = ?"
    row = db.row(find, client, line.line_id)
    called = (line.product, line.name)
    bills = (line.application, category_text(line.categories), dumps(line.tenants), run_id)
    if row is None:
        db.execute(
            "INSERT INTO line (product, name, application, categories, tenants, proven, client,"
            " line_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            *(*called, *bills, client, line.line_id),
        )
    elif line.settled or not row["owned"]:
        if (row["owned"], *(row[one] for one in _DESCRIBED)) != (1, *called, *bills):
            db.execute(
                "UPDATE line SET product = ?, name = ?, application = ?, categories = ?,"
                " tenants = ?, proven = ?, owned = 1 WHERE id = ?",
                *(*called, *bills, row["id"]),
            )
    elif (row["product"], row["name"]) != called:
        db.execute("UPDATE line SET product = ?, name = ? WHERE id = ?", *called, row["id"])
    (row,) = db.rows(find, client, line.line_id)
    return row


def restate(db: Database, run_id: int, lines: Iterable[ConfirmedLine]) -> None:
    """What these owned lines bill is as told; their quantity is not looked at."""
    with db.transaction():
        for line in lines:
            bills = (line.application, category_text(line.categories), dumps(line.tenants), run_id)
            db.execute(
                "UPDATE line SET application = ?, categories = ?, tenants = ?, proven = ?"
                " WHERE owned AND line_id = ? AND client ="
                " (SELECT id FROM client WHERE psa = ? AND agreement = ?)",
                *(*bills, line.line_id, line.psa, line.agreement),
            )


def disown(db: Database, keys: Iterable[LineKey]) -> None:
    """These lines are not kisi's any more; should they be again, their baseline starts anew."""
    with db.transaction():
        for key in keys:
            db.execute(
                "UPDATE line SET owned = 0, baseline_after = coalesce(current, 0)"
                " WHERE line_id = ? AND client ="
                " (SELECT id FROM client WHERE psa = ? AND agreement = ?)",
                *(key.line_id, key.psa, key.agreement),
            )
