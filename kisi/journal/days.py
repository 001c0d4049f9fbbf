"""How much of each application a tenant used on each day: the last complete reading of a day.

Days are those of the billing time zone. They are kept as ranges of days with the same numbers, so
that an unchanged day moves the end of a range and adds nothing. A day on which the tenant was not
read, or on which nobody counted the application, is in no range: a gap, and never a 0.

A reading that a guard held is kept apart from the others until it is accepted, so that one wrong
day poisons no period. Numbers that stay as they were the day before stay held with it:

    day        1    2    3    4    5
    devices    50   50   5    5    50      a guard holds the fall of day 3
    held                 *    *            and the days are 50, 50, gap, gap, 50;
                                           once the 5 is accepted on day 4: 50, 50, 5, 5, 50
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from datetime import date, timedelta

from kisi.journal.codec import dumps, loads
from kisi.journal.database import Part
from kisi.journal.records import tenant_ref
from kisi.model import Category, TenantRef

Quantities = Mapping[Category, int]
"""What was counted, by category; one that is missing was counted too, and is 0."""

_OVER = """
    SELECT * FROM usage_day
    WHERE tenant = ? AND application = ? AND first_day <= ? AND last_day >= ?
"""
_ADD = """
    INSERT INTO usage_day (tenant, application, first_day, last_day, quantities, held)
    VALUES (?, ?, ?, ?, ?, ?)
"""
_EXTEND = "UPDATE usage_day SET last_day = ? WHERE id = ?"
_SPAN = """
    SELECT * FROM usage_day
    WHERE first_day <= ? AND last_day >= ? AND held <= ?
        AND (? IS NULL OR tenant IN (SELECT value FROM json_each(?)))
    ORDER BY tenant, application, first_day
"""
_DAY = timedelta(days=1)


class Days(Part):
    """The table `usage_day`."""

    def days(
        self,
        first: date,
        last: date,
        tenants: Collection[TenantRef] | None = None,
        *,
        held: bool = False,
    ) -> Mapping[tuple[TenantRef, str], Mapping[date, Quantities]]:
        """What was counted on each day of a span, by tenant and application, oldest day first.

        Args:
            first: The span's first day, in the billing time zone.
            last: Its last day.
            tenants: Of these alone.
            held: With readings that a guard held and nobody accepted.

        Returns:
            A day that is missing is a gap: there is no complete reading of it.
        """
        wanted = None if tenants is None else json.dumps(sorted(map(str, tenants)))
        found: dict[tuple[TenantRef, str], dict[date, Quantities]] = {}
        for row in self._db.rows(_SPAN, str(last), str(first), held, wanted, wanted):
            days = found.setdefault((tenant_ref(row["tenant"]), row["application"]), {})
            quantities: Quantities = loads(Mapping[Category, int], row["quantities"])
            begins, ends = _date(row["first_day"]), _date(row["last_day"])
            for number in range((min(ends, last) - max(begins, first)).days + 1):
                days[max(begins, first) + number * _DAY] = quantities
        return found

    def hold_days(self, day: date, readings: Iterable[tuple[TenantRef, str]]) -> None:
        """A guard holds what was counted of these tenants' applications on a day."""
        with self._db.transaction():
            for tenant, application in readings:
                for row in self._db.rows(_OVER, str(tenant), application, str(day), str(day)):
                    if not row["held"]:
                        self._put_day(day, str(tenant), application, row["quantities"], held=True)

    def accept_days(self, day: date, readings: Iterable[tuple[TenantRef, str]]) -> None:
        """What was counted on a day is accepted, or no guard holds it any more.

        With it goes every other held reading of the same numbers.
        """
        with self._db.transaction():
            for tenant, application in readings:
                for row in self._db.rows(_OVER, str(tenant), application, str(day), str(day)):
                    self._db.execute(
                        "UPDATE usage_day SET held = 0 WHERE held AND tenant = ?"
                        " AND application = ? AND quantities = ?",
                        *(str(tenant), application, row["quantities"]),
                    )

    def _record_day(self, day: date, tenant: str, application: str, quantities: Quantities) -> None:
        """Inside a transaction: a complete reading of a day, in place of an earlier one of it."""
        counted = dumps({category: number for category, number in quantities.items() if number})
        touching = self._db.rows(_OVER, tenant, application, str(day), str(day - _DAY))
        same = [row for row in touching if row["quantities"] == counted]
        if any(row["last_day"] >= str(day) for row in same):
            return
        if same and len(touching) == 1:  # the usual night: one statement
            self._db.execute(_EXTEND, str(day), same[0]["id"])
            return
        held = any(row["held"] for row in same)
        self._put_day(day, tenant, application, counted, held=held)

    def _put_day(
        self, day: date, tenant: str, application: str, quantities: str, *, held: bool
    ) -> None:
        """Cuts a day out of the range that has it, and adds it to the one before, or its own."""
        for row in self._db.rows(_OVER, tenant, application, str(day), str(day)):
            self._db.execute("DELETE FROM usage_day WHERE id = ?", row["id"])
            rest = (row["quantities"], row["held"])
            if _date(row["first_day"]) < day:
                self._db.execute(
                    _ADD, tenant, application, row["first_day"], str(day - _DAY), *rest
                )
            if _date(row["last_day"]) > day:
                self._db.execute(_ADD, tenant, application, str(day + _DAY), row["last_day"], *rest)
        before = self._db.row(
            f"{_OVER} AND quantities = ? AND held = ?",
            *(tenant, application, str(day - _DAY), str(day - _DAY), quantities, held),
        )
        if before is None:
            self._db.execute(_ADD, tenant, application, str(day), str(day), quantities, held)
        else:
            self._db.execute(_EXTEND, str(day), before["id"])

    def _prune_days(self, before: date) -> None:
        """Inside a transaction: forgets ranges that ended before a day."""
        self._db.execute("DELETE FROM usage_day WHERE last_day < ?", str(before))


def _date(text: str) -> date:
    return date.fromisoformat(text)
