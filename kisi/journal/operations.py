"""Writes: the intent, committed before its request is sent, and the outcome.

Whatever ends the process in between, the next run finds the intent without an outcome and asks the
PSA what became of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from hashlib import blake2b
from pathlib import Path
from typing import Any

from kisi.journal.database import as_state_errors, dumps, from_row, pack, quantity_text
from kisi.journal.lines import ConfirmedLine, Lines
from kisi.json_text import fields
from kisi.model import Company, Line, Outcome, PlannedLine, Proof, TenantRef

_PROVEN = (Outcome.APPLIED, Outcome.UNCHANGED)
_SNAPSHOT = re.compile(r"(.+)-(\d+)-(\d{8}T\d{6})\.\d{6}Z(?:\.foreign)?\.json")
"""The name of a file in which kisi 0.1 kept the lines from before a write, until it was proven."""
_SELECT = """
    SELECT operation.*, operation.run AS run_id, client.psa, client.agreement,
        run.state = 'running' AS running, (SELECT reversal FROM line
            WHERE line.client = client.id AND line.line_id = operation.line_id) AS reversal
    FROM operation JOIN client ON client.id = operation.client JOIN run ON run.id = operation.run
"""


@dataclass(frozen=True, slots=True)
class OperationOutcome:
    """What became of one write; `APPLIED` and `UNCHANGED` prove the line."""

    outcome: Outcome
    line_id: str | None = None
    """Needed to prove a create."""
    quantity: Decimal | None = None
    """What the PSA shows; by default what was to be written."""
    detail: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Operation:
    """One write: its intent, and its outcome once that is known."""

    id: int
    key: str
    run_id: int
    at: datetime
    name: str
    tenants: tuple[TenantRef, ...]
    line: PlannedLine
    """What was to be changed; without price, description and hold."""
    outcome: Outcome | None = None
    """None: no outcome was ever stored."""
    quantity: Decimal | None = None
    detail: str = ""
    request_id: str = ""
    settled: bool = False
    """False while nobody knows what the write did: no outcome, or an unknown one."""
    running: bool = False
    """Its run has not ended, as far as the journal knows: it may be under way just now."""
    proofs: tuple[Proof, ...] = ()
    """What the line's units may have stood for before it; nothing where kisi did not keep it."""
    lines_before: tuple[Line, ...] | None = None
    """All lines of the agreement from just before the request, until those after it were seen."""


@dataclass(frozen=True, slots=True)
class StoredForeignChange:
    """A write with which something else changed, and at which no person has looked yet."""

    psa: str
    agreement: str
    at: datetime
    what: str
    lines: tuple[Mapping[str, Any], ...] = ()
    """All lines of the agreement from before the write, as the PSA gave them."""


def operation_key(line: PlannedLine) -> str:
    """What tells a change from every other: a hash, after a number for the way it is made."""
    before = None if line.before is None else quantity_text(line.before)
    where = [line.psa, line.company, line.agreement, line.product, line.line_id]
    text = json.dumps([*where, line.action, before, quantity_text(line.after)])
    return "1:" + blake2b(text.encode(), digest_size=16).hexdigest()


class Operations(Lines):
    """The table `operation`."""

    def intent(self, run_id: int, at: datetime, line: PlannedLine, company: Company) -> Operation:
        """Commits that `line` of `company` is about to be written. Nothing is sent before."""
        with self._transaction():
            client = self._client(line, company.name)
            planned = fields(line, "company application product line_id action before")
            texts = {"categories": line.category, "after": quantity_text(line.after)}
            whose = {"client": client, "name": company.name, "tenants": dumps(company.tenants)}
            begun = {"key": operation_key(line), "run": run_id, "at": at}
            begun["proofs"] = dumps(self.proofs(client, line.line_id))
            operation = self._insert("operation", **begun, **whose, **planned, **texts)
        (stored,) = self._operations("operation.id = ?", operation)
        return stored

    def settle(
        self, operation: Operation, run_id: int, at: datetime, result: OperationOutcome
    ) -> None:
        """Commits what became of an operation, in its own run or as a later one found out.

        A proven line is owned and confirmed in the same transaction. What it bills from now on is
        settled by `confirm`; a new line bills what the operation's own run counted. `UNKNOWN`
        leaves the operation `pending`. A line that was seen after such a write is owned too, as it
        was seen: kisi may have made it, and must neither forget it nor take it for a person's.

        An outcome that could not be stored is a `StateError`: print `emergency_line`, write nothing
        more. A create that is said to be applied and has no line id is a `ValueError`.
        """
        quantity, whose = result.quantity, (operation.name, operation.tenants)
        line = replace(operation.line, line_id=result.line_id or operation.line.line_id)
        with self._transaction():
            found = fields(result, "outcome quantity detail")
            found["request_id"] = result.request_id or operation.request_id
            found["settled"] = result.outcome is not Outcome.UNKNOWN
            self._update("operation", operation.id, outcome_at=at, outcome_run=run_id, **found)
            if result.outcome in _PROVEN:
                shown = Decimal(line.after) if quantity is None else quantity
                proven = ConfirmedLine(line, *whose, shown, settled=False)
                self._confirm_line(operation.run_id, at, proven)
            elif result.outcome is Outcome.UNKNOWN and line.line_id and quantity is not None:
                self._own_line(operation.run_id, at, ConfirmedLine(line, *whose, quantity))

    def pending(self) -> tuple[Operation, ...]:
        """Operations of which nobody knows what they did, oldest first."""
        return self._operations("operation.settled = 0")

    def keep_lines(self, operation: Operation, lines: Iterable[Line] | None) -> None:
        """Commits what its agreement holds before the request is sent; None: that is proven."""
        packed = None if lines is None else pack(list(lines))
        with self._transaction():
            self._update("operation", operation.id, lines_before=packed)

    def unproven(self) -> tuple[Operation, ...]:
        """Operations after which nobody has seen yet whether something else changed."""
        return self._operations("operation.lines_before IS NOT NULL")

    def record_foreign_change(
        self, psa: str, agreement: str, at: datetime, what: str, lines: Iterable[Line]
    ) -> None:
        """Commits that something else changed with a write; no write there is unproven then."""
        with self._transaction():
            raw = pack([line.raw for line in lines])
            where = {"psa": psa, "agreement": agreement}
            self._insert("foreign_change", **where, at=at, what=what, lines=raw)
            self._execute(
                "UPDATE operation SET lines_before = NULL WHERE lines_before IS NOT NULL"
                " AND client = (SELECT id FROM client WHERE psa = ? AND agreement = ?)",
                *(psa, agreement),
            )

    def foreign_changes(self) -> tuple[StoredForeignChange, ...]:
        """Those at which no person has looked yet, oldest first."""
        rows = self._rows("SELECT * FROM foreign_change ORDER BY id")
        return *self._snapshots().values(), *(from_row(StoredForeignChange, row) for row in rows)

    def missing(self) -> tuple[Operation, ...]:
        """Creates that were sent, or may have been, and that a later run has not seen."""
        return self._operations(
            "operation.settled = 0 AND operation.line_id IS NULL AND operation.outcome = ?"
            " AND operation.outcome_run > operation.run",
            Outcome.UNKNOWN,
        )

    def acknowledge(self) -> int:
        """A person has looked: foreign changes are restored, and new lines not seen do not exist.

        Returns how many changes and writes that concerned. Should such a line appear after all, it
        is a person's: kisi neither doubles it nor takes it over by itself.
        """
        missing = self.missing()
        concerned = len(self.foreign_changes()) + len(self.unproven()) + len(missing)
        with self._transaction():
            for one in missing:
                self._update("operation", one.id, settled=True)
            self._execute("DELETE FROM foreign_change")
            self._execute("UPDATE operation SET lines_before = NULL WHERE lines_before IS NOT NULL")
        with as_state_errors(self.path):
            for path in self._snapshots():
                path.replace(path.with_suffix(".seen"))  # kept, under another name
        return concerned

    def _snapshots(self) -> dict[Path, StoredForeignChange]:
        """An earlier kisi's files, whatever they hold: each marks a change, or was not compared."""
        folder = self.path.parent / "snapshots"
        found = {}
        with as_state_errors(folder / "snapshots"), suppress(FileNotFoundError, NotADirectoryError):
            for path in sorted(folder.iterdir()):
                if name := _SNAPSHOT.fullmatch(path.name):
                    psa, agreement, stamp = name.groups()
                    found[path] = StoredForeignChange(
                        psa,
                        agreement,
                        datetime.strptime(f"{stamp}+0000", "%Y%m%dT%H%M%S%z"),
                        f"with a write on agreement {agreement} lines that are not kisi's had "
                        "changed, or could not be compared. An earlier kisi kept the lines from "
                        f"before it in {path}.",
                    )
        return found

    def operations(self, run_id: int) -> tuple[Operation, ...]:
        """The writes that a run began, in its order."""
        return self._operations("operation.run = ?", run_id)

    def operations_since(self, run_id: int) -> tuple[Operation, ...]:
        """The writes that a run began, and those of the same lines in later runs."""
        return self._operations(
            "operation.run >= ? AND EXISTS (SELECT 1 FROM operation AS mine WHERE mine.run = ?"
            " AND mine.client = operation.client AND mine.product = operation.product)",
            *(run_id, run_id),
        )

    def _operations(self, which: str, *values: object) -> tuple[Operation, ...]:
        rows = self._rows(f"{_SELECT} WHERE {which} ORDER BY operation.id", *values)
        lines = (from_row(PlannedLine, row, outcome=None, detail="") for row in rows)
        return tuple(from_row(Operation, row, line=x) for row, x in zip(rows, lines, strict=True))


def emergency_line(operation: Operation, result: OperationOutcome) -> str:
    """An outcome that could not be journaled, for stderr, in ASCII JSON; nothing depends on it."""
    line = operation.line
    told = {
        "kisi": "outcome not journaled",
        "operation": operation.id,
        "run": operation.run_id,
        "line_id": result.line_id or line.line_id,
        **fields(operation, "key name"),
        **fields(line, "psa company agreement application category product action before after"),
        **fields(result, "outcome quantity detail request_id"),
    }
    return dumps(told)
