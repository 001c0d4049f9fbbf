"""Where billing lines live: the protocol every PSA implements, and what their packages share.

Vendor rules (effective dates, foreign changes, report-only) live in a PSA's module, never outside.
It decides no quantity, and keeps nothing between runs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Protocol, runtime_checkable

from kisi.errors import ForeignChange, KisiError, PsaError
from kisi.model import Agreement, AgreementRef, Finding, Hold, Line, PlannedLine, WriteResult
from kisi.redaction import remote_text

_LOG = logging.getLogger(__name__)
_NAMED_AT_MOST = 10
_BILLS = ("product", "unit_price", "one_time")
"""What a write must leave alone on its own line: kisi sets quantities, never prices."""
_SHOWN = {
    "quantity": "quantity",
    "unit_price": "price",
    "product": "item",
    "description": "description",
    "one_time": "one-time flag",
}

Agreements = Mapping[AgreementRef, Agreement | KisiError]
"""Each agreement, or why it could not be read."""
ByCompany = Mapping[str, tuple[Agreement, ...]]


@dataclass(frozen=True, slots=True)
class PsaCompany:
    """A company or account of the PSA, for `kisi map`."""

    id: str
    name: str
    active: bool = True


@dataclass(frozen=True, slots=True)
class PsaAgreement:
    """An agreement of the PSA, for `kisi map`."""

    id: str
    company: str
    name: str
    kind: str = ""
    active: bool = True
    starts: date | None = None
    ends: date | None = None


@dataclass(frozen=True, slots=True)
class PsaProduct:
    """A catalog or price book item, as the PSA prices it."""

    id: str
    name: str
    """Identifier and description, as a person knows it."""
    active: bool = True
    price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class ProbeStep:
    """One step of the proof that a PSA's writes do what they should, and what it showed."""

    message: str
    passed: bool = True
    foreign: bool = False
    """It changed something that was not the probe's."""


@runtime_checkable
class SupportsProbe(Protocol):
    """A PSA whose way of writing a person proves on a scratch agreement before kisi uses it."""

    def probe(
        self, agreement: str, item: str, confirm: Callable[[str], bool]
    ) -> Iterator[ProbeStep]:
        """Writes a line of `item` to a scratch agreement, once `confirm` has asked a person.

        `ConfigError` where there is no login that may write, `PsaError` where the agreement cannot
        be read or does not exist.
        """


class Psa(Protocol):
    """A system that invoices from agreements.

    Every read raises `PsaError` for what did not arrive whole, or answers another question.
    """

    name: str
    """The section name of `[psa.NAME]`."""
    workers: int
    """How many agreements may be read, and clients written, at once."""
    accounts_word: str = "company"
    """What this PSA calls a client: `company` or `account`."""
    if_others_change: str = ""
    """What a person does where a write changed other lines too, in sentences.

    Empty where the vendor documents that a write changes its own line alone. Otherwise `kisi.apply`
    reads all lines before and after each write and compares them: `lines` always gives all, each
    with its `Line.raw`, and `workers` is 1.
    """

    def clock_skew(self) -> timedelta | None:
        """How far this machine's clock is ahead of the PSA's, by its last answer; None: unknown."""

    def busy_for(self) -> float:
        """Seconds until the PSA wants to be sent something again, as it said with a rate limit."""

    def withheld(self) -> Hold | None:
        """Why this PSA's writes are all held, whatever they are, or None. No id releases it."""
        return None

    def agreements(self, refs: Collection[AgreementRef], today: date) -> Agreements:
        """Each agreement, checked: `Agreement.not_billable` if missing, ended, another company's.

        It raises only if nothing could be read.
        """

    def agreements_of(self, companies: Collection[str], today: date) -> ByCompany:
        """The active agreements of each of these PSA companies, children and parents among them.

        Each is checked as by `agreements`, but against its own company. A company that the PSA does
        not know has none. One request for about 150 companies where the API allows it.
        """

    def lines(self, ref: AgreementRef, products: Collection[str] | None = None) -> tuple[Line, ...]:
        """All lines of one agreement, also cancelled ones, whole.

        With `products`: at least those of these products, asked for by a filter where the API has
        one. It is the proof that no such line exists: a list whose pages end early must never
        become a second line.
        """

    def line(self, ref: AgreementRef, line_id: str) -> Line | None:
        """One line, asked for by its id; None only where the PSA says that it does not exist."""

    def products(self, ids: Collection[str]) -> Mapping[str, PsaProduct]:
        """The named products with their prices; unknown ids are left out (150 a request)."""

    def write(self, line: PlannedLine, agreement: Agreement, today: date) -> WriteResult:
        """Sends one create or update, once, and classifies the answer. Never raises for a refusal.

        A refusal over an effective date may be answered by a second request with another date.
        Retries, read-backs, journaling and the look at other lines are `kisi.apply`'s. Where that
        looks, it has read the agreement's lines just before, and `APPLIED` is not given.
        """

    def all_companies(self) -> tuple[PsaCompany, ...]:
        """Every company or account, for `kisi map`."""

    def all_agreements(self) -> tuple[PsaAgreement, ...]:
        """Every agreement, for `kisi map`."""

    def all_products(self) -> tuple[PsaProduct, ...]:
        """Every product that can be a line, for `kisi map`."""

    def check_online(self, agreement: str | None) -> tuple[Finding, ...]:
        """Login, clock and rights, for `kisi check --online`; writes nothing, never raises.

        `agreement` is a mapped one, to ask about rights on it; None if there is none.
        """

    def close(self) -> None:
        """Closes connections. Safe to call twice."""


def whole_lines(
    psa: Psa, ref: AgreementRef, known: Collection[str], products: Collection[str] | None = None
) -> tuple[Line, ...]:
    """The lines of an agreement (or of `products`), with those of `known` that exist.

    A line that exists and is not listed proves that the list is short. Then all lines of its
    product are asked for, so that a second one is not overlooked; `PsaError` if it is not there.
    """
    listed = psa.lines(ref) if products is None else psa.lines(ref, products)
    missing = sorted(set(known) - {line.id for line in listed})
    found = [line for one in missing if (line := psa.line(ref, one)) is not None]
    if not found:
        return listed
    named = ", ".join(line.id for line in found)
    asked = psa.lines(ref, {line.product for line in found})
    if not {line.id for line in found} <= {line.id for line in asked}:
        raise PsaError(
            f"The list of the lines of agreement {ref.agreement} (psa.{psa.name}) lacks {named}, "
            "which exist: it is not whole, or another agreement's. None of it was used.",
            remedy="Run kisi again; if it keeps happening, something between kisi and the PSA "
            "shortens lists or mixes answers up.",
        )
    _LOG.warning(
        "psa.%s: the list of the lines of agreement %s lacks %s, which exist. kisi asked for them; "
        "something between kisi and the PSA shortens lists.",
        *(psa.name, ref.agreement, named),
    )
    return tuple({line.id: line for line in (*listed, *asked)}.values())


# --- what a write changed beside its own line, for a PSA with `if_others_change` ------------------


def foreign_change(
    psa: Psa, written: PlannedLine, at: datetime, before: Collection[Line], after: Collection[Line]
) -> ForeignChange | None:
    """The error for a write, sent `at`, after which more differs than its own line's quantity.

    `before` and `after` are all lines of its agreement, read just before it and any time since.
    """
    changes = foreign_changes(written, before, after)
    if not changes:
        return None
    more = len(changes) - _NAMED_AT_MOST
    return ForeignChange(
        f"psa.{psa.name}: with the write of {when(at)} for item {written.product} on agreement "
        f"{written.agreement} something else changed: {'; '.join(changes[:_NAMED_AT_MOST])}"
        f"{f' and {more} more' if more > 0 else ''}. kisi writes nothing more there.",
        remedy=psa.if_others_change,
    )


def when(at: datetime) -> str:
    """An instant, for people."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def own_line(
    written: PlannedLine, before: Collection[Line], after: Collection[Line]
) -> Line | None:
    """The written line among `after`: by its id, or the one new recurring line of its product."""
    if written.line_id is not None:
        return next((line for line in after if line.id == written.line_id), None)
    known = {line.id for line in before}
    new = [
        line
        for line in after
        if line.id not in known and line.product == written.product and not line.one_time
    ]
    found = [line for line in new if line.quantity == written.after] or new
    return found[0] if len(found) == 1 else None


def foreign_changes(
    written: PlannedLine, before: Collection[Line], after: Collection[Line]
) -> tuple[str, ...]:
    """Each difference in words, beside the quantity of the line that was written."""
    own = own_line(written, before, after)
    now = {line.id: line for line in after}
    found = []
    for line in before:
        shown = now.pop(line.id, None)
        if shown is None:
            found.append(f"{_named(line)} with quantity {line.quantity:f} is gone")
        elif shown is own:
            if any(getattr(line, name) != getattr(shown, name) for name in _BILLS):
                found.append(_difference(line, shown, "more than its quantity changed"))
        elif shown != line:
            found.append(_difference(line, shown, "changed"))
    found += [
        f"{_named(line)} with quantity {line.quantity:f} is new"
        for line in now.values()
        if line is not own
    ]
    return tuple(found)


def _named(line: Line) -> str:
    called = remote_text(line.product or line.description or "no item", 80)
    return f"line {line.id} ({called})"


def _difference(before: Line, after: Line, otherwise: str) -> str:
    pairs = [(word, getattr(before, name), getattr(after, name)) for name, word in _SHOWN.items()]
    differences = [
        f"{word} {_shown(was)} to {_shown(now)}" for word, was, now in pairs if was != now
    ]
    return f"{_named(before)}: {', '.join(differences) or otherwise}"


def _shown(value: object) -> str:
    return remote_text(f"{value.normalize():f}" if isinstance(value, Decimal) else str(value), 40)
