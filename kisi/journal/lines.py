"""The lines that kisi owns, every quantity they were proven to hold, and what else they held.

The *baseline* of a line starts anew when a person accepted a change of it: ranges up to
`baseline_after` do not count for it any more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from sqlite3 import Row
from typing import Self

from kisi.journal.database import dumps, from_epoch, from_row, loads, quantity_text
from kisi.journal.runs import Runs
from kisi.model import (
    Category,
    Company,
    Outcome,
    OwnedLine,
    PlannedLine,
    Proof,
    Reversal,
    TenantRef,
    Terms,
    category_text,
)

_OWNED = """
    SELECT line.*, client.psa, client.company, client.agreement,
        line_quantity.quantity, line_quantity.quantity AS confirmed,
        CASE WHEN line.baseline_after > 0 THEN coalesce((SELECT min(first_at) FROM line_quantity
            AS later WHERE later.line = line.id AND later.id > line.baseline_after),
            line_quantity.last_at) END AS accepted,
        line.reversal IS NOT NULL OR EXISTS (SELECT 1 FROM line_terms
            WHERE line_terms.line = line.id
            AND json_extract(terms, '$.policy') != 'today') AS by_days,
        (SELECT json_group_array(DISTINCT json_extract(terms, '$.ends')) FROM line_terms
            WHERE line_terms.line = line.id
            AND json_extract(terms, '$.ends') IS NOT NULL) AS invoices,
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
    SELECT line.*, client.psa, client.agreement
    FROM line JOIN client ON client.id = line.client WHERE ? IS NULL OR client.name = ?
    ORDER BY client.psa, client.agreement, line.id
"""
_OF_LINES = """
    SELECT own.* FROM {} AS own JOIN line ON line.id = own.line
        JOIN client ON client.id = line.client WHERE ? IS NULL OR client.name = ?
    ORDER BY own.line, own.rowid
"""
_LAST_TERMS = "SELECT terms FROM line_terms WHERE line = ? ORDER BY id DESC LIMIT 1"
_FIND = "SELECT * FROM line WHERE client = ? AND line_id = ?"
_OF_FACT = """
    SELECT line.* FROM line JOIN client ON client.id = line.client
    WHERE psa = ? AND agreement = ? AND line_id = ?
"""
_CURRENT = """
    SELECT line_quantity.* FROM line_quantity JOIN line ON line_quantity.id = line.current
    WHERE line.id = ? AND line_quantity.quantity = ? AND line_quantity.id > line.baseline_after
"""


@dataclass(frozen=True, slots=True)
class ConfirmedLine:
    """A line that is proven to hold a quantity: written and shown, or read and equal.

    A line without an id is a `ValueError`: a created line is proven only once its id is known.
    """

    line: PlannedLine
    """As it was planned, under the id that the PSA gave it."""
    name: str
    tenants: tuple[TenantRef, ...]
    quantity: Decimal
    settled: bool = True
    """False: the number is proven, and stands for what the line billed before."""

    def __post_init__(self) -> None:
        if self.line.line_id is None:
            raise ValueError("A line without an id cannot be confirmed.")

    @classmethod
    def of(cls, line: PlannedLine, company: Company, *, settled: bool = True) -> Self:
        """The planned line of `company` that was read and found equal to what it should be."""
        return cls(line, company.name, company.tenants, Decimal(line.after), settled)


@dataclass(frozen=True, slots=True)
class QuantityRange:
    """A quantity and the runs between which a line was proven to hold it."""

    quantity: Decimal
    first_run: int
    first_at: datetime
    last_run: int
    last_at: datetime


@dataclass(frozen=True, slots=True)
class LineHistory:
    """A line of a client with every quantity it was proven to hold, oldest first."""

    psa: str
    agreement: str
    line_id: str
    product: str
    application: str
    categories: tuple[Category, ...]
    owned: bool
    quantities: tuple[QuantityRange, ...]
    terms: tuple[tuple[datetime, Terms], ...] = ()
    """What its PSA told of its price, oldest first, each with the run's time from which on."""
    found: Mapping[date, Decimal] = field(default_factory=dict)
    """What the PSA held on days on which it was not confirmed, as the last run saw it."""

    @property
    def category(self) -> str:
        """The categories as one text, `category_text`."""
        return category_text(self.categories)

    def terms_at(self, at: datetime | None = None) -> Terms:
        """Those of an instant, by default the last; nothing is known of it before the first."""
        told = [terms for since, terms in self.terms if at is None or since < at]
        return told[-1] if told else Terms()


class Lines(Runs):
    """The tables `line`, `line_quantity` and `line_terms`."""

    def facts(self, now: datetime, baseline_days: int) -> tuple[OwnedLine, ...]:
        """What is known of every line that kisi owns, ordered by PSA, agreement and line id.

        `highest` and `lowest` are over `baseline_days` until `now`, at most since its last accept.
        """
        with self._transaction("BEGIN"):  # one state, while another process may write
            owned = self._rows(_OWNED)
            seen: dict[int, list[Decimal]] = {}
            for row in (*self._rows(_BASELINE, now - timedelta(days=baseline_days)), *owned):
                seen.setdefault(row["id"], []).append(loads(Decimal, row["quantity"], "quantity"))
            return tuple(
                from_row(OwnedLine, row, highest=max(seen[row["id"]]), lowest=min(seen[row["id"]]))
                for row in owned
            )

    def line_history(self, name: str | None = None) -> tuple[LineHistory, ...]:
        """Every line of the clients called `name` (None: of all), with its quantities over time."""
        with self._transaction("BEGIN"):  # one state, while another process may write
            seen: dict[int, list[QuantityRange]] = defaultdict(list)
            for row in self._rows(_OF_LINES.format("line_quantity"), name, name):
                seen[row["line"]].append(from_row(QuantityRange, row))
            told: dict[int, list[tuple[datetime, Terms]]] = defaultdict(list)
            for row in self._rows(_OF_LINES.format("line_terms"), name, name):
                terms = loads(Terms, row["terms"], "the price of a line")
                told[row["line"]].append((from_epoch(row["at"]), terms))
            held: dict[int, dict[date, Decimal]] = defaultdict(dict)
            for row in self._rows(_OF_LINES.format("line_found"), name, name):
                quantity = loads(Decimal, row["quantity"], "quantity")
                held[row["line"]][date.fromisoformat(row["day"])] = quantity
            found = []
            for row in self._rows(_HISTORY, name, name):
                quantities, terms = tuple(seen[row["id"]]), tuple(told[row["id"]])
                more = {"quantities": quantities, "terms": terms, "found": held[row["id"]]}
                found.append(from_row(LineHistory, row, **more))
            return tuple(found)

    def confirm(self, run_id: int, at: datetime, confirmed: Iterable[ConfirmedLine]) -> None:
        """These lines were read and hold what they should; kisi owns them from now on."""
        with self._transaction():
            for one in confirmed:
                self._confirm_line(run_id, at, one)

    def record_found(
        self,
        at: datetime,
        day: date,
        lines: Iterable[tuple[OwnedLine, Decimal | None, Terms | None]],
    ) -> None:
        """What owned lines held on a day; None: what they should, or that is not known."""
        with self._transaction():
            for fact, quantity, terms in lines:
                for row in self._rows(_OF_FACT, fact.psa, fact.agreement, fact.line_id):
                    where = (row["id"], str(day))
                    self._execute("DELETE FROM line_found WHERE line = ? AND day = ?", *where)
                    if quantity is not None:
                        values = (*where, quantity_text(quantity))
                        self._execute("INSERT INTO line_found VALUES (?, ?, ?)", *values)
                    if quantity is not None and terms is not None:
                        told = terms  # a PSA knows no count policy: it is that of the last proof
                        for last in self._rows(_LAST_TERMS, row["id"]):
                            before = loads(Terms, last["terms"], "the price of a line")
                            told = replace(
                                terms, policy=before.policy, begins=before.begins, ends=before.ends
                            )
                        self._record_terms(row["id"], at, told)

    def restate(self, run_id: int, changed: Iterable[ConfirmedLine]) -> None:
        """What these owned lines bill is as told; their quantity is not looked at.

        A reversal whose number is what is counted is over: it was of what they billed before.
        """
        with self._transaction():
            for one in changed:
                client = self._client(one.line, one.name)
                row = self._row(f"{_FIND} AND owned", client, one.line.line_id)
                if row is not None:
                    told = {"reversal": _stored(one.line.reversal)}
                    self._update("line", row["id"], **_billed(_proof(run_id, one)), **told)

    def _confirm_line(self, run_id: int, at: datetime, confirmed: ConfirmedLine) -> None:
        """Inside a transaction: the line is kisi's, and held this quantity in this run.

        Unless `settled`, an owned line also goes on to stand for what it billed before. What an
        earlier write did to it is beside the point now: its unknown outcome is settled.
        """
        line = confirmed.line
        client = self._client(line, confirmed.name)
        self._prove(run_id, at, client, confirmed)
        self._execute(
            "UPDATE operation SET settled = 1 WHERE settled = 0 AND outcome = ? AND client = ?"
            " AND product = ? AND (line_id IS NULL OR line_id = ?)",
            *(Outcome.UNKNOWN, client, line.product, line.line_id),
        )

    def _own_line(self, run_id: int, at: datetime, seen: ConfirmedLine) -> None:
        """As `_confirm_line`, settling nothing, and only for a line that is not owned yet.

        Else what was last confirmed stays: that it holds something else, a person must see.
        """
        client = self._client(seen.line, seen.name)
        if self._row(f"{_FIND} AND owned", client, seen.line.line_id) is None:
            self._prove(run_id, at, client, seen)

    def _prove(self, run_id: int, at: datetime, client: int, confirmed: ConfirmedLine) -> None:
        line, quantity = confirmed.line, quantity_text(confirmed.quantity)
        row, proof = self._row(_FIND, client, line.line_id), _proof(run_id, confirmed)
        proofs: tuple[Proof, ...] = (proof,)
        if row is not None and row["owned"] and not confirmed.settled:
            proofs = proof.added_to(_proofs(row))
        # It lasts only while the line holds what it was brought back to.
        stays = line.reversal is not None and line.reversal.quantity == confirmed.quantity
        known = {"product": line.product, "name": confirmed.name, "owned": True}
        values = {
            **known,
            **_billed(*proofs),
            "reversal": _stored(line.reversal if stays else None),
        }
        if row is None:
            line_row = self._insert("line", client=client, line_id=line.line_id, **values)
        else:
            line_row = row["id"]
            self._update("line", line_row, **values)
        same = self._row(_CURRENT, line_row, quantity)
        proven = {"line": line_row, "quantity": quantity}
        current = self._record_range("line_quantity", same, run_id, at, **proven)
        self._update("line", line_row, current=current)
        self._record_terms(line_row, at, line.terms)

    def _record_terms(self, line: int, at: datetime, terms: Terms) -> None:
        last, told = self._row(_LAST_TERMS, line), dumps(terms)
        if last is None or last["terms"] != told:
            self._insert("line_terms", line=line, at=at, terms=told)

    def revert(self, lines: Iterable[OwnedLine]) -> None:
        """These lines are to go back to what their reversal says, or (None) no more."""
        with self._transaction():
            for fact in lines:
                for row in self._rows(_OF_FACT, fact.psa, fact.agreement, fact.line_id):
                    told = {"reversal": _stored(fact.reversal), "earlier": dumps(fact.earlier)}
                    self._update("line", row["id"], **told)

    def proofs(self, client: int, line_id: str | None) -> tuple[Proof, ...]:
        """What an owned line of a client may stand for; nothing is known of any other."""
        row = self._row(f"{_FIND} AND owned", client, line_id)
        return () if row is None else _proofs(row)

    def disown(self, lines: Iterable[OwnedLine]) -> None:
        """These lines are not kisi's any more; should they be again, their baseline starts anew."""
        with self._transaction():
            for line in lines:
                for row in self._rows(_OF_FACT, line.psa, line.agreement, line.line_id):
                    begins = {"baseline_after": row["current"] or 0}
                    self._update("line", row["id"], owned=0, reversal=None, **begins)


def _stored(reversal: Reversal | None) -> str | None:
    return None if reversal is None else dumps(reversal)


def _proof(run_id: int, confirmed: ConfirmedLine) -> Proof:
    line = confirmed.line
    return Proof(run_id, line.application, line.categories, confirmed.tenants)


def _proofs(row: Row) -> tuple[Proof, ...]:
    return *loads(tuple[Proof, ...], row["earlier"]), from_row(Proof, row, run=row["proven"])


def _billed(*proofs: Proof) -> dict[str, object]:
    *earlier, last = proofs
    return {
        "application": last.application,
        "categories": category_text(last.categories),
        "tenants": dumps(last.tenants),
        "proven": last.run,
        "earlier": dumps(earlier),
    }
