"""Writes: the intent before the request is sent, the outcome after its answer was understood.

An intent is committed before anything is sent, and alone. Whatever ends the process afterwards, the
next run finds the intent without an outcome and asks the PSA what became of it.
"""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from hashlib import blake2b
from sqlite3 import Row

from kisi.journal.clients import client_id
from kisi.journal.codec import dumps, from_epoch, loads, quantity_text
from kisi.journal.database import Database
from kisi.journal.lines import confirm_line, own_line
from kisi.journal.records import ConfirmedLine, Operation
from kisi.model import Action, Company, Outcome, PlannedLine, TenantRef, categories_of

_PROVEN = (Outcome.APPLIED, Outcome.UNCHANGED)
_SELECT = """
    SELECT operation.*, client.psa, client.agreement
    FROM operation JOIN client ON client.id = operation.client
"""


def operation_key(line: PlannedLine) -> str:
    """What tells a change from every other change: `1:` and a hash over where, before and after.

    The same change has the same key in every run and on every machine. The number in front changes
    when what is hashed does.
    """
    before = None if line.before is None else quantity_text(line.before)
    where = [line.psa, line.company, line.agreement, line.product, line.line_id]
    text = json.dumps([*where, line.action, before, quantity_text(line.after)])
    return "1:" + blake2b(text.encode(), digest_size=16).hexdigest()


def intend(
    db: Database, run_id: int, at: datetime, line: PlannedLine, company: Company
) -> Operation:
    """Commits that `line` is about to be written."""
    with db.transaction():
        client = client_id(db, line.psa, line.company, line.agreement, company.name)
        operation = db.execute(
            "INSERT INTO operation (key, run, at, client, company, name, tenants, application,"
            " categories, product, line_id, action, before, after)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(operation_key(line), run_id, at, client, line.company, company.name),
            *(dumps(company.tenants), line.application, line.category, line.product),
            *(line.line_id, line.action, line.before, quantity_text(line.after)),
        )
        (row,) = db.rows(f"{_SELECT} WHERE operation.id = ?", operation)
    return _operation(row)


def close(
    db: Database,
    operation: Operation,
    run_id: int,
    at: datetime,
    outcome: Outcome,
    *,
    line_id: str | None,
    quantity: Decimal | None,
    detail: str,
    request_id: str,
) -> None:
    """Commits what became of an operation; a proven line is owned and confirmed with it.

    The number is proven; what the line bills from now on is settled by `confirm`, once the whole
    run is written. A new line bills what the operation's own run counted, whenever it is found.
    A line that was seen after a write with an unknown outcome is owned too, as it was seen: kisi
    may have made it, and must neither forget it nor take it for a person's.
    """
    line = operation.line
    with db.transaction():
        db.execute(
            "UPDATE operation SET outcome = ?, outcome_at = ?, outcome_run = ?, quantity = ?,"
            " detail = ?, request_id = ?, settled = ? WHERE id = ?",
            *(outcome, at, run_id, quantity, detail, request_id or operation.request_id),
            *(outcome is not Outcome.UNKNOWN, operation.id),
        )
        found = line.line_id if line_id is None else line_id
        if outcome in _PROVEN:
            shown = Decimal(line.after) if quantity is None else quantity
            proven = ConfirmedLine.proven(
                line, operation.name, operation.tenants, found, shown, settled=False
            )
            confirm_line(db, operation.run_id, at, proven)
        elif outcome is Outcome.UNKNOWN and found is not None and quantity is not None:
            shown_so = ConfirmedLine.proven(
                line, operation.name, operation.tenants, found, quantity
            )
            own_line(db, operation.run_id, at, shown_so)


def unsettled(db: Database) -> tuple[Operation, ...]:
    """Operations of which nobody knows what they did, oldest first."""
    rows = db.rows(f"{_SELECT} WHERE operation.settled = 0 ORDER BY operation.id")
    return tuple(_operation(row) for row in rows)


def operations_of(db: Database, run_id: int) -> tuple[Operation, ...]:
    """All operations that a run began, in its order."""
    rows = db.rows(f"{_SELECT} WHERE operation.run = ? ORDER BY operation.id", run_id)
    return tuple(_operation(row) for row in rows)


def emergency_line(
    operation: Operation,
    outcome: Outcome,
    *,
    line_id: str | None = None,
    quantity: Decimal | None = None,
    detail: str = "",
    request_id: str = "",
) -> str:
    """An outcome that could not be journaled, as one line of ASCII JSON for stderr.

    Nothing depends on anyone reading it: the intent is journaled, and the next run asks the PSA.
    """
    line = operation.line
    return dumps(
        {
            "kisi": "outcome not journaled",
            "operation": operation.id,
            "key": operation.key,
            "run": operation.run_id,
            "psa": line.psa,
            "company": line.company,
            "agreement": line.agreement,
            "name": operation.name,
            "application": line.application,
            "category": line.category,
            "product": line.product,
            "line_id": line.line_id if line_id is None else line_id,
            "action": line.action,
            "before": line.before,
            "after": line.after,
            "outcome": outcome,
            "quantity": quantity,
            "detail": detail,
            "request_id": request_id,
        }
    )


def _operation(row: Row) -> Operation:
    line = PlannedLine(
        psa=row["psa"],
        company=row["company"],
        agreement=row["agreement"],
        application=row["application"],
        categories=categories_of(row["categories"]),
        product=row["product"],
        line_id=row["line_id"],
        action=Action(row["action"]),
        before=row["before"] and Decimal(row["before"]),
        after=int(row["after"]),
    )
    return Operation(
        id=row["id"],
        key=row["key"],
        run_id=row["run"],
        at=from_epoch(row["at"]),
        name=row["name"],
        tenants=loads(tuple[TenantRef, ...], row["tenants"]),
        line=line,
        outcome=row["outcome"] and Outcome(row["outcome"]),
        quantity=row["quantity"] and Decimal(row["quantity"]),
        detail=row["detail"],
        request_id=row["request_id"],
        settled=bool(row["settled"]),
    )
