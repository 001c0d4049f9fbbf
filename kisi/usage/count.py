"""How many? A tenant's reading and the rules in, quantities and evidence out.

The conservation law holds for every tenant and application and is checked on every run:
rows read = rows counted + rows left out, by reason. A device counts once per application, however
many keys, products or rows it has there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from kisi import licensing
from kisi.errors import ExitCode, Incomplete, SourceError
from kisi.model import (
    Application,
    ApplicationUsage,
    Category,
    DeviceClass,
    Key,
    KeyEvidence,
    KeyRow,
    Reading,
    ReportedQuantity,
    TenantUsage,
    Unit,
    UnmappedUse,
)
from kisi.usage.notes import device_notes, figure_notes, key_notes, some
from kisi.usage.rows import Tally, count_rows, quantities
from kisi.usage.terms import Terms

_FOREIGN_TOLERATED = 2
_FOREIGN_SHARE = 0.02


class Undecided(SourceError):
    """The reading is whole, and a person must say what is to be billed of it.

    Args:
        guard: `ambiguous`: a key name belongs to two applications equally well. `category`: users
            cannot be worked out from a number of non-Windows devices.
        message: What was read and not billed.
        remedy: What decides it.
    """

    exit_code = ExitCode.WITHHELD

    def __init__(self, guard: str, message: str, *, remedy: str) -> None:
        super().__init__(message, remedy=remedy)
        self.guard = guard


@dataclass(slots=True)
class _Group:
    """Everything a tenant reported under one application (or one key name that matches none)."""

    name: str
    application: Application | None
    keys: list[tuple[Key, licensing.Judgement]] = field(default_factory=list)
    rows: list[KeyRow] = field(default_factory=list)
    reported: list[ReportedQuantity] = field(default_factory=list)
    tally: Tally = field(default_factory=lambda: (0, Counter(), []))


def count_tenant(reading: Reading, terms: Terms) -> TenantUsage:
    """Counts one complete tenant: an `ApplicationUsage` for each billed application it uses.

    Raises:
        Undecided: A key in use belongs to two applications equally well, or the users of an
            application cannot be worked out.
        Incomplete: Too many uses belong to devices of other servers, or the rows do not add up.
    """
    judged = {key.serial: licensing.judge_key(key, terms.rules, terms.now) for key in reading.keys}
    closed = {key.serial: key.not_counted_reason for key in reading.keys if key.not_counted_reason}
    groups = _group(reading, judged, closed, terms)
    _refuse_foreign(reading, groups, closed, terms)
    for group in groups:
        group.tally = count_rows(group.rows, reading.devices, terms, closed)
    billed = [g for g in groups if g.application and g.application.bill and g.name in terms.billed]
    return TenantUsage(
        tenant=reading.tenant,
        at=reading.at,
        applications=tuple(_count(group, reading, terms) for group in billed),
        unmapped=tuple(_unmapped(groups, reading, terms)),
        keys=tuple(_key_evidence(key, judged[key.serial]) for key in reading.keys),
        notes=(*reading.notes, *_notes(reading, groups, terms)),
    )


def _group(
    reading: Reading,
    judged: Mapping[str, licensing.Judgement],
    closed: Collection[str],
    terms: Terms,
) -> list[_Group]:
    groups: dict[tuple[str, bool], _Group] = {}

    def of(name: str, *, used: bool) -> _Group:
        found = terms.matcher.matches(name)
        if len(found) > 1 and used:
            raise Undecided(
                "ambiguous",
                f"{reading.tenant.name}: the key name {name!r} belongs equally to "
                + " and ".join(repr(application.name) for application in found)
                + ". Nothing of this client was billed.",
                remedy="Make one `keys` pattern in mapping.toml longer, so that it wins.",
            )
        application = found[0] if len(found) == 1 else None
        label = application.name if application else name
        return groups.setdefault((label, application is not None), _Group(label, application))

    by_serial: dict[str, _Group] = {}
    for key in reading.keys:
        counts = judged[key.serial].counts
        group = by_serial[key.serial] = of(key.name, used=counts and key.used != 0)
        group.keys.append((key, judged[key.serial]))
    for row in reading.rows:
        if row.serial not in by_serial:
            raise Incomplete(f"{reading.tenant.name}: a use names the unlisted key {row.serial}.")
        if judged[row.serial].counts or row.serial in closed:
            by_serial[row.serial].rows.append(row)
    for each in reading.reported:
        of(each.name, used=not each.not_counted_reason).reported.append(each)
    return list(groups.values())


def _refuse_foreign(
    reading: Reading, groups: Sequence[_Group], closed: Collection[str], terms: Terms
) -> None:
    active = {
        row.device: row.name or row.device
        for group in groups
        for row in group.rows
        if row.serial not in closed and licensing.judge_row(row, terms.rules, terms.now).counts
    }
    foreign = [name for device, name in active.items() if device not in reading.devices]
    if len(foreign) > max(_FOREIGN_TOLERATED, _FOREIGN_SHARE * len(active)):
        raise Incomplete(
            f"{reading.tenant.name}: {len(foreign)} of {len(active)} devices that use its keys are "
            "not among its own devices and may be another client's. Its lines stay as they are. "
            f"They are {some(foreign)}.",
            remedy="Run it again; if it keeps happening, see on which server these devices are, "
            "and whether the key is shared with other servers.",
        )


def _count(group: _Group, reading: Reading, terms: Terms) -> ApplicationUsage:
    application = group.application
    if application is None:  # pragma: no cover - `count_tenant` passes only known applications
        raise AssertionError(group.name)
    told = [each for each in group.reported if not each.not_counted_reason]
    if application.unit is Unit.USER:
        _refuse_non_windows(told, application.name, reading.tenant.name)
    rows, left_out, evidence = group.tally
    for each in group.reported:
        if each.not_counted_reason:
            left_out[each.not_counted_reason] += each.quantity
    counted = [item for item in evidence if item.counted]
    usage = ApplicationUsage(
        application=application.name,
        unit=application.unit,
        quantities=dict(quantities(counted, told, application.unit, terms.rules)),
        rows=len(group.rows) + sum(each.quantity for each in group.reported),
        counted_rows=rows + sum(each.quantity for each in told),
        left_out=dict(left_out),
        evidence=tuple(evidence),
        keys=tuple(_key_evidence(key, judgement) for key, judgement in group.keys),
        unknown_devices=tuple(
            item.name or item.device for item in counted if item.device_class is DeviceClass.UNKNOWN
        ),
    )
    _conserve(usage, reading.tenant.name)
    return usage


def _refuse_non_windows(told: Iterable[ReportedQuantity], application: str, tenant: str) -> None:
    number = sum(each.quantity for each in told if each.category is Category.NON_WINDOWS)
    if number:
        raise Undecided(
            "category",
            f"{tenant}: the report tells {number} non-Windows devices of {application} only as a "
            "number, and its users cannot be worked out from it: a Mac or Linux computer is a "
            "user, two mobile devices are one. Nothing of this client was billed.",
            remedy="Export one row a device, or the number of users with the category `all`.",
        )


def _conserve(usage: ApplicationUsage, tenant: str) -> None:
    left = sum(usage.left_out.values())
    if usage.rows != usage.counted_rows + left:
        raise Incomplete(
            f"{tenant}, {usage.application}: {usage.rows} rows were read, but {usage.counted_rows} "
            f"counted and {left} left out do not add up. This is a bug in kisi; "
            "the client's lines stay as they are.",
            remedy="Please report it with the output of `kisi preview -vv`.",
        )


def conservation(usage: ApplicationUsage) -> str:
    """The conservation law in words: `112 rows = 100 counted + 7 expired + 5 reserve key`."""
    parts = [f"{usage.counted_rows} counted"]
    parts += [f"{number} {reason}" for reason, number in sorted(usage.left_out.items())]
    return f"{usage.rows} rows = " + " + ".join(parts)


def _unmapped(groups: Sequence[_Group], reading: Reading, terms: Terms) -> Iterable[UnmappedUse]:
    for group in groups:
        known = group.application
        if known is not None and (not known.bill or known.name in terms.billed):
            continue
        counted = group.tally[0]
        reported = sum(each.quantity for each in group.reported if not each.not_counted_reason)
        read = {row.serial for row in group.rows}
        unread = sum(
            key.used or 0
            for key, judgement in group.keys
            if judgement.counts and key.serial not in read
        )
        quantity = counted + reported + unread
        if quantity:
            yield UnmappedUse(
                company=reading.tenant.name,
                application=group.name,
                quantity=quantity,
                estimated=unread > 0,
                tenant=reading.tenant.ref,
            )


def _key_evidence(key: Key, judgement: licensing.Judgement) -> KeyEvidence:
    return KeyEvidence(
        serial=key.serial,
        name=key.name,
        counted=judgement.counts,
        reason=judgement.reason,
        used=key.used,
        licenses=key.licenses,
        expires=licensing.expires(key),
    )


def _notes(reading: Reading, groups: Iterable[_Group], terms: Terms) -> Iterable[str]:
    yield from key_notes(reading.keys, terms)
    yield from figure_notes(reading.keys, reading.rows, terms)
    evidence = (item for group in groups for item in group.tally[2])
    yield from device_notes(evidence, reading.devices, terms)
