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

from kisi.journal.clients import Clients
from kisi.journal.codec import dumps, from_row, loads, quantity_text
from kisi.journal.records import ConfirmedLine, LineHistory, LineKey, QuantityRange
from kisi.model import Outcome, OwnedLine, Proof, categories_of, category_text

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
_HISTORY = """
    SELECT line.*, client.psa, client.agreement, client.name AS client_name
    FROM line JOIN client ON client.id = line.client WHERE client.name = ?
    ORDER BY client.psa, client.agreement, line.id
"""
_DESCRIBED = ("product", "name", "application", "categories", "tenants", "proven", "earlier")


class Lines(Clients):
    """The tables `line` and `line_quantity`."""

    def facts(self, now: datetime, baseline_days: int) -> tuple[OwnedLine, ...]:
        """What is known of every line that kisi owns, ordered by PSA, agreement and line id.

        `highest` and `lowest` are over the quantities confirmed in the `baseline_days` before
        `now`, or since the line's last accept, whichever is shorter.
        """
        with self._db.snapshot():
            seen: dict[int, list[Decimal]] = {}
            for row in self._db.rows(_BASELINE, now - timedelta(days=baseline_days)):
                seen.setdefault(row["id"], []).append(Decimal(row["quantity"]))
            return tuple(_fact(row, seen.get(row["id"], [])) for row in self._db.rows(_OWNED))

    def line_history(self, name: str) -> tuple[LineHistory, ...]:
        """Every line of the clients called `name`, each with its quantities over time."""
        with self._db.snapshot():
            return tuple(self._line_history(row) for row in self._db.rows(_HISTORY, name))

    def _line_history(self, row: Row) -> LineHistory:
        ranges = self._db.rows("SELECT * FROM line_quantity WHERE line = ? ORDER BY id", row["id"])
        return from_row(
            LineHistory,
            row,
            key=from_row(LineKey, row),
            name=row["client_name"],
            categories=categories_of(row["categories"]),
            quantities=tuple(from_row(QuantityRange, one) for one in ranges),
        )

    def confirm(self, run_id: int, at: datetime, confirmed: Iterable[ConfirmedLine]) -> None:
        """These lines were read and hold what they should; kisi owns them from now on.

        An unknown outcome of an earlier write to one of them is settled by it.
        """
        with self._db.transaction():
            for one in confirmed:
                self._confirm_line(run_id, at, one)

    def restate(self, run_id: int, changed: Iterable[ConfirmedLine]) -> None:
        """What these owned lines bill is as told; their quantity is not looked at."""
        with self._db.transaction():
            for one in changed:
                self._db.execute(
                    "UPDATE line SET application = ?, categories = ?, tenants = ?, proven = ?,"
                    " earlier = ? WHERE owned AND client = ? AND line_id = ?",
                    *(*_billed(_proof(run_id, one)), self._client_of(one), one.line.line_id),
                )

    def _confirm_line(self, run_id: int, at: datetime, confirmed: ConfirmedLine) -> None:
        """Inside a transaction: the line is kisi's, and held this quantity in this run.

        What it bills (application, categories, tenants, the readings of this run) is as told. A
        line that was owned and is not settled goes on to stand for what it billed before, or stands
        for what its client has now.

        What an earlier write did to the line is beside the point from now on: its unknown outcome
        is settled.
        """
        client = self._client_of(confirmed)
        self._prove(run_id, at, client, confirmed)
        self._db.execute(
            "UPDATE operation SET settled = 1 WHERE settled = 0 AND outcome = ? AND client = ?"
            " AND product = ? AND (line_id IS NULL OR line_id = ?)",
            *(Outcome.UNKNOWN, client, confirmed.line.product, confirmed.line.line_id),
        )

    def _own_line(self, run_id: int, at: datetime, seen: ConfirmedLine) -> None:
        """Inside a transaction: `_confirm_line` for a line not owned yet, settling nothing.

        Of a line that is owned, what was last confirmed stays: that it holds something else now is
        what a person must see.
        """
        client = self._client_of(seen)
        owned = "SELECT id FROM line WHERE client = ? AND line_id = ? AND owned"
        if self._db.row(owned, client, seen.line.line_id) is None:
            self._prove(run_id, at, client, seen)

    def _client_of(self, confirmed: ConfirmedLine) -> int:
        line = confirmed.line
        return self._client_id(line.psa, line.company, line.agreement, confirmed.name)

    def _prove(self, run_id: int, at: datetime, client: int, confirmed: ConfirmedLine) -> None:
        row = self._line_row(run_id, client, confirmed)
        current = row["current"]
        last = self._db.row("SELECT * FROM line_quantity WHERE id = ?", current)
        quantity = quantity_text(confirmed.quantity)
        if last and last["quantity"] == quantity and current > row["baseline_after"]:
            self._db.execute(
                "UPDATE line_quantity SET last_run = max(last_run, ?), last_at = ? WHERE id = ?",
                *(run_id, at, current),
            )
        else:
            current = self._db.execute(
                "INSERT INTO line_quantity (line, quantity, first_run, first_at, last_run, last_at)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                *(row["id"], quantity, run_id, at, run_id, at),
            )
            self._db.execute("UPDATE line SET current = ? WHERE id = ?", current, row["id"])

    def _line_row(self, run_id: int, client: int, confirmed: ConfirmedLine) -> Row:
        """The line's row, made or brought up to date."""
        line = confirmed.line
        find = "SELECT * FROM line WHERE client = ? AND line_id = ?"
        row = self._db.row(find, client, line.line_id)
        proofs = _proof(run_id, confirmed)
        if row is not None and row["owned"] and not confirmed.settled:
            proofs = proofs[0].added_to(_proofs(row))
        described = (line.product, confirmed.name, *_billed(proofs))
        if row is None:
            self._db.execute(
                "INSERT INTO line (product, name, application, categories, tenants, proven,"
                " earlier, client, line_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                *(*described, client, line.line_id),
            )
        elif (row["owned"], *(row[one] for one in _DESCRIBED)) != (1, *described):
            self._db.execute(
                "UPDATE line SET product = ?, name = ?, application = ?, categories = ?,"
                " tenants = ?, proven = ?, earlier = ?, owned = 1 WHERE id = ?",
                *(*described, row["id"]),
            )
        (row,) = self._db.rows(find, client, line.line_id)
        return row

    def disown(self, keys: Iterable[LineKey]) -> None:
        """These lines are not kisi's any more: excepted with `bill = false`, or gone for good.

        Should they be again, their baseline starts anew.
        """
        with self._db.transaction():
            for key in keys:
                self._db.execute(
                    "UPDATE line SET owned = 0, baseline_after = coalesce(current, 0)"
                    " WHERE line_id = ? AND client ="
                    " (SELECT id FROM client WHERE psa = ? AND agreement = ?)",
                    *(key.line_id, key.psa, key.agreement),
                )


def _proof(run_id: int, confirmed: ConfirmedLine) -> tuple[Proof, ...]:
    line = confirmed.line
    return (Proof(run_id, line.application, line.categories, confirmed.tenants),)


def _proofs(row: Row) -> tuple[Proof, ...]:
    last = from_row(Proof, row, run=row["proven"], categories=categories_of(row["categories"]))
    return *loads(tuple[Proof, ...], row["earlier"]), last


def _billed(proofs: tuple[Proof, ...]) -> tuple[str, str, str, int, str]:
    """The last proof (application, categories, tenants, run), and those before it."""
    *earlier, last = proofs
    categories = category_text(last.categories)
    return last.application, categories, dumps(last.tenants), last.run, dumps(earlier)


def _fact(row: Row, seen: list[Decimal]) -> OwnedLine:
    confirmed = Decimal(row["quantity"])
    return from_row(
        OwnedLine,
        row,
        categories=categories_of(row["categories"]),
        confirmed=confirmed,
        highest=max((confirmed, *seen)),
        lowest=min((confirmed, *seen)),
    )
