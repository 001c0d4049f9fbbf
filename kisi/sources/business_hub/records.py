"""From the records of all report files to one reading a company, and what contradicts itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from kisi.counting import ACTIVE, SUBSCRIPTION, UNLIMITED
from kisi.model import Category, Device, Key, KeyRow, Reading, ReportedQuantity, Tenant, TenantRef
from kisi.sources.business_hub.files import Place, refusal
from kisi.sources.business_hub.report import Record
from kisi.sources.business_hub.table import fold, shown


def readings(
    source: str, records: Sequence[Record], modified: Mapping[Path, datetime]
) -> dict[TenantRef, Reading]:
    """One complete reading a company, in the order of the reports.

    Args:
        source: The section name of the source.
        records: Of all files of the source.
        modified: When each file was modified. A company in several files is as old as its oldest.

    Raises:
        SourceError: The records repeat or contradict one another.
    """
    refuse_repeats(records)
    refuse_mixed_forms(records)
    companies: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        companies[record.company].append(record)
    found = (_reading(source, name, rows, modified) for name, rows in companies.items())
    return {reading.tenant.ref: reading for reading in found}


def refuse_repeats(records: Iterable[Record]) -> None:
    """Refuses a record that is there twice, in one file or in two.

    The same company, application and category (or device) twice may be a copy or a second licence;
    nobody can tell. A licence that does not count stands beside one that does: that is no repeat.

    Raises:
        SourceError: A record is there twice, or a company is spelled in two ways.
    """
    spelled: dict[str, Record] = {}
    seen: dict[tuple[str, ...], Record] = {}
    for record in records:
        company = fold(record.company)
        first = spelled.setdefault(company, record)
        if first.company != record.company:
            raise refusal(
                record.place,
                f"the company {shown(record.company)} is spelled {shown(first.company)} "
                f"in {_other(first.place, record.place)}",
                remedy="Give each company one spelling; kisi bills by it.",
            )
        what = (
            (fold(record.device),)
            if record.device
            else (record.category, record.not_counted_reason)
        )
        identity = (company, fold(record.application), *what)
        earlier = seen.setdefault(identity, record)
        if earlier is not record:
            raise refusal(
                record.place,
                f"it repeats {_other(earlier.place, record.place)}: the same company, application "
                f"and {'device' if record.device else 'category'} ({shown(record.company)}, "
                f"{shown(record.application)}, {shown(record.device or record.category)})",
                remedy="Take the copy away, or add the quantities up, if they are of two licences. "
                "Old reports must not fit a second pattern of `files`.",
            )


def refuse_mixed_forms(records: Iterable[Record]) -> None:
    """Refuses a company's application that is told as devices and as a number, or whole and split.

    Raises:
        SourceError: Adding up such rows would bill the same devices twice.
    """
    forms: dict[tuple[str, str], Record] = {}
    for record in records:
        if record.not_counted_reason:
            continue
        identity = (record.company, fold(record.application))
        earlier = forms.setdefault(identity, record)
        if _form(earlier) != _form(record):
            raise refusal(
                record.place,
                f"it tells {shown(record.application)} of {shown(record.company)} as "
                f"{_form(record)}, and {_other(earlier.place, record.place)} as {_form(earlier)}, "
                "which would count the same devices twice",
                remedy="Export one form only.",
            )


def _form(record: Record) -> str:
    if record.device:
        return "devices"
    return "one quantity" if record.category is Category.ALL else "quantities by category"


def _other(place: Place, here: Place) -> str:
    """Another place, seen from `here`."""
    return f"line {place.line}" if place.file == here.file else str(place)


def _reading(
    source: str, name: str, records: Sequence[Record], modified: Mapping[Path, datetime]
) -> Reading:
    uses = [record for record in records if record.device]
    rows = tuple(
        KeyRow(_serial(use), _device_id(use), use.device, product=use.application) for use in uses
    )
    return Reading(
        tenant=Tenant(TenantRef(source, name), name),
        at=min(modified[record.place.file] for record in records),
        keys=_keys(uses),
        rows=rows,
        devices=_devices(uses),
        reported=tuple(
            ReportedQuantity(
                record.application, record.category, record.quantity, record.not_counted_reason
            )
            for record in records
            if not record.device
        ),
    )


def _keys(uses: Iterable[Record]) -> tuple[Key, ...]:
    """A key for each application and licence status of a device list.

    The report judged the licence already (`not_counted_reason`), so the key is an unlimited
    subscription in force: the rules for dates that a report does not tell have nothing to say.
    """
    groups: dict[str, list[Record]] = defaultdict(list)
    for use in uses:
        groups[_serial(use)].append(use)
    return tuple(
        Key(
            serial=serial,
            name=group[0].application,
            key_type=SUBSCRIPTION,
            subscription=True,
            state=ACTIVE,
            end_date_type=UNLIMITED,
            used=len(group),
            not_counted_reason=group[0].not_counted_reason,
        )
        for serial, group in groups.items()
    )


def _serial(use: Record) -> str:
    return f"{use.application} ({use.licence})" if use.licence else use.application


def _device_id(use: Record) -> str:
    """Unique in the source: two companies may well have a PC-01 each."""
    return f"{use.company}/{fold(use.device)}"


def _devices(uses: Iterable[Record]) -> dict[str, Device]:
    devices: dict[str, Device] = {}
    told: dict[str, Record] = {}
    for use in uses:
        identity = _device_id(use)
        earlier = told.setdefault(identity, use)
        if fold(earlier.os_name) != fold(use.os_name):
            raise refusal(
                use.place,
                f"the device {shown(use.device)} of {shown(use.company)} has the operating system "
                f"{shown(use.os_name)}, and {shown(earlier.os_name)} in "
                f"{_other(earlier.place, use.place)}",
                remedy="Give each device of a company its own name, or export the report again.",
            )
        devices[identity] = Device(identity, use.device, use.os_name)
    return devices
