"""The Business Hub source: report files in, one complete reading a company out.

The newest file of each pattern is read once nobody writes it any more.
"""

from __future__ import annotations

import os
import stat
import sys
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from kisi.counting import ACTIVE, SUBSCRIPTION, UNLIMITED
from kisi.csv_table import Decoded, fold
from kisi.errors import SourceError
from kisi.files import open_regular
from kisi.model import (
    Category,
    Device,
    Finding,
    Key,
    KeyRow,
    Level,
    Reading,
    ReportedQuantity,
    Tenant,
    TenantRef,
)
from kisi.sources import Readings, Select, UsageSource
from kisi.sources.business_hub.report import (
    TOO_LARGE,
    FilePattern,
    HubSettings,
    Location,
    Record,
    decoded,
    matching,
    parse_report,
    refusal,
    shown,
)
from kisi.transport import Clock, Limits

SETTLED = timedelta(seconds=2)  # one modified more recently may still be written
AHEAD = timedelta(minutes=5)  # how far a file server's clock may run ahead of ours
_SET_ENCODING = (
    "Look at its names in `kisi map list`; `encoding` of this source in kisi.toml sets it."
)


class ReportFile(NamedTuple):
    """A report as it lies on the disk. Its numbers are taken to be of the instant `modified`."""

    path: Path
    modified: datetime
    size: int
    stamp: int
    """The modification time in nanoseconds, to notice any change."""
    given: FilePattern
    """The entry of `files` that it fits."""


def _look(path: Path, given: FilePattern) -> ReportFile | None:
    """The file at `path`, or None if it is a folder or a device."""
    try:
        status = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from error
    if not stat.S_ISREG(status.st_mode):
        return None
    modified = datetime.fromtimestamp(status.st_mtime, UTC)
    return ReportFile(path, modified, status.st_size, status.st_mtime_ns, given)


def read_settled(file: ReportFile, max_age_hours: float, clock: Clock, *, cap: int) -> bytes:
    """The whole content of a file that is neither old nor from the future, and not being written.

    A file modified within `SETTLED` is waited for once; one of more than `cap` bytes is not read.
    """
    location, age = Location(file.path), clock.now() - file.modified
    if age > timedelta(hours=max_age_hours):
        hours = age.total_seconds() / 3600
        raise refusal(
            location,
            f"it was last modified {hours:.0f} hours ago, and `max_age_hours` is {max_age_hours:g}",
            remedy="Export the report again; if the export is a scheduled job, see why it stopped.",
        )
    if age < -AHEAD:
        raise refusal(
            location,
            f"its modification time {file.modified:%Y-%m-%d %H:%M} UTC lies in the future",
            remedy="Correct the clock of this machine or of the one that writes the report.",
        )
    if file.size > cap:
        raise refusal(
            location,
            f"it has {file.size} bytes, more than the {cap} that kisi reads",
            remedy=TOO_LARGE,
        )
    if age < SETTLED:
        clock.sleep(min(SETTLED - age, SETTLED).total_seconds())
    try:
        with open_regular(file.path, _open_unwritten) as stream:
            content = stream.read(cap + 1)
            status = os.fstat(stream.fileno())
        now = _look(file.path, file.given)
    except OSError as error:
        raise _unreadable(file.path, error) from error
    seen = (len(content), status.st_size, status.st_mtime_ns)
    if seen != (file.size, file.size, file.stamp) or now != file:
        raise refusal(
            location,
            "it changed while it was being read, so it is still being written",
            remedy="Run kisi again when the export has finished.",
        )
    if not content:
        raise refusal(location, "it is empty", remedy="Export the report again.")
    return content


if sys.platform == "win32":
    import _winapi
    import msvcrt

    def _open_unwritten(path: str, flags: int) -> int:
        """Opens a file to read; an `OSError` while another program has it open to write."""
        # a write may show only then: https://learn.microsoft.com/windows/win32/sysinfo/file-times
        to_read, shared_to_read, existing = _winapi.GENERIC_READ, 1, _winapi.OPEN_EXISTING
        handle = _winapi.CreateFile(path, to_read, shared_to_read, 0, existing, 0, 0)
        return msvcrt.open_osfhandle(handle, flags)
else:
    _open_unwritten = os.open  # whose systems do not tell, but show the time of each write


def _unreadable(path: Path, error: OSError) -> SourceError:
    return refusal(
        Location(path),
        f"it could not be read ({error.strerror or type(error).__name__})",
        remedy="Let the account that runs kisi read it, and close it in other programs.",
    )


class BusinessHub(UsageSource):
    """Exported reports as a source. The settings' `files` are relative to `base`.

    The files are read once. Whatever is wrong with one row fails the whole source: a report that is
    wrong in one place is not known to be right in the others.
    """

    def __init__(
        self,
        name: str,
        settings: HubSettings,
        secrets: Mapping[str, str],  # noqa: ARG002 - every source is opened alike
        *,
        base: Path,
        clock: Clock,
        limits: Limits,
    ) -> None:
        self.name = name
        self._settings, self._base = settings, base
        self._clock, self._cap = clock, limits.list_bytes
        self._encodings: dict[Path, Decoded] = {}
        """Of each file that was read, without its text."""

    def files(self) -> tuple[ReportFile, ...]:
        """The newest file of each pattern, whatever its age, each file once, in their order."""
        picked: dict[Path, ReportFile] = {}
        for given in self._settings.files:
            paths = matching(given.pattern, self._base)
            found = [file for path in paths if (file := _look(path, given))]
            if not found:
                raise SourceError(
                    f'No report file fits the pattern "{given.pattern}" in {self._base}. No number '
                    "of this source was used; the lines of its clients stay as they are.",
                    remedy="Export the report again, or correct `files` in kisi.toml.",
                )
            newest = max(found, key=lambda file: (file.stamp, str(file.path)))
            first = picked.setdefault(newest.path.resolve(), newest).given
            if (first.company, first.application) != (given.company, given.application):
                raise refusal(
                    Location(newest.path),
                    f'it is the newest of "{first.pattern}" and of "{given.pattern}", for which '
                    "`files` names different companies or applications",
                    remedy="Change the patterns, so that each report fits one.",
                )
        return tuple(picked.values())

    def tenants(self) -> tuple[Tenant, ...]:
        """All companies of the reports, in their order."""
        return tuple(reading.tenant for reading in self._readings.values())

    def read(self, tenants: Collection[Tenant], select: Select) -> Readings:
        """If a report is wrong, that error for all tenants."""
        try:
            found = self._readings
        except SourceError as error:
            yield from ((tenant.ref, error) for tenant in tenants)
            return
        absent = SourceError(
            f'The reports of the source "{self.name}" do not name this company. '
            "Nothing of it was counted, and its lines stay as they are.",
            remedy="See whether it was renamed or removed there; then correct mapping.toml.",
        )
        for ref in (tenant.ref for tenant in tenants):
            yield ref, _selected(found[ref], select) if ref in found else absent

    def check_online(self) -> tuple[Finding, ...]:
        """The newest reports and their age, and whether they can be read whole."""
        try:
            files, tenants = self.files(), self.tenants()
        except SourceError as error:
            return (Finding.of(error),)
        now, hour = self._clock.now(), timedelta(hours=1)
        findings = []
        for file in files:
            age, (_, encoding, others) = (now - file.modified) / hour, self._encodings[file.path]
            said = f"sources.{self.name} reads {file.path}, {age:.0f} h old, in {encoding}"
            if others:
                said = f"{said}; by its letters it might be {' or '.join(others)}"
            how = (Level.NOTE, _SET_ENCODING) if others else (Level.OK, "")
            findings.append(Finding(how[0], f"{said}.", how[1]))
        found = f"sources.{self.name} has {len(tenants)} companies."
        return (*findings, Finding(Level.OK, found))

    @cached_property
    def _readings(self) -> dict[TenantRef, Reading]:
        """One complete reading a company, in their order, as old as the oldest of its files."""
        settings, files = self._settings, self.files()
        companies: dict[str, list[Record]] = defaultdict(list)
        records: list[Record] = []
        for file in files:
            content = read_settled(file, settings.max_age_hours, self._clock, cap=self._cap)
            report = decoded(file.path, content, settings.encoding)
            self._encodings[file.path] = report._replace(text="")
            records += parse_report(file.path, report.text, settings, file.given)
        _refuse_contradictions(records)
        for record in records:
            companies[record.company].append(record)
        modified = {file.path: file.modified for file in files}
        found: dict[TenantRef, Reading] = {}
        for name, mine in companies.items():
            ref = TenantRef(self.name, name)
            uses = [record for record in mine if record.device]
            found[ref] = Reading(
                tenant=Tenant(ref, name),
                at=min(modified[record.location.file] for record in mine),
                keys=_keys(uses),
                rows=tuple(KeyRow(use.serial, use.device_id, use.device) for use in uses),
                devices=_devices(uses),
                reported=tuple(
                    ReportedQuantity(x.application, x.category, x.quantity, x.not_counted_reason)
                    for x in mine
                    if not x.device
                ),
            )
        return found


def _selected(reading: Reading, select: Select) -> Reading:
    """`reading` with the rows and devices of the keys that `select` asks for, or that do not count.

    The devices of the latter (an expired licence, say) are left out by name later.
    """
    serials = {key.serial for key in reading.keys if key.not_counted_reason or select(key)}
    rows = tuple(row for row in reading.rows if row.serial in serials)
    named = {row.device for row in rows}
    devices = {name: device for name, device in reading.devices.items() if name in named}
    return replace(reading, rows=rows, devices=devices)


def _refuse_contradictions(records: Iterable[Record]) -> None:
    """Refuses what cannot be added up, because the same devices could be billed twice.

    The same company, application and category (or device) twice, in one file or in two, may be a
    copy or a second licence; nobody can tell. Nor may an application of a company be told as
    devices and as a number, or whole and split. What does not count is neither: where a licence was
    replaced, a device is there under the old ones and the new one, in any order.
    """
    spelled: dict[str, Record] = {}
    seen: dict[tuple[str, str, str, str], Record] = {}
    forms: dict[tuple[str, str], Record] = {}
    for record in records:
        company, application = fold(record.company), fold(record.application)
        first = spelled.setdefault(company, record)
        if first.company != record.company:
            raise refusal(
                record.location,
                f"the company {shown(record.company)} is spelled {shown(first.company)} "
                f"in {_other(first, record)}",
                remedy="Give each company one spelling; kisi bills by it.",
            )
        if record.not_counted_reason:
            continue
        what = (record.device_id, record.since) if record.device else (record.category, "")
        earlier = seen.setdefault((company, application, *what), record)
        if earlier is not record:
            raise refusal(
                record.location,
                f"it repeats {_other(earlier, record)}: the same company, application "
                f"and {'device' if record.device else 'category'} ({shown(record.company)}, "
                f"{shown(record.application)}, {shown(record.device or record.category)})",
                remedy="Take the copy away, or add the quantities up, if they are of two licences. "
                "Old reports must not fit a second pattern of `files`.",
            )
        earlier = forms.setdefault((company, application), record)
        if _form(earlier) != _form(record):
            raise refusal(
                record.location,
                f"it tells {shown(record.application)} of {shown(record.company)} as "
                f"{_form(record)}, and {_other(earlier, record)} as {_form(earlier)}, "
                "which would count the same devices twice",
                remedy="Export one form only.",
            )


def _form(record: Record) -> str:
    if record.device:
        return "devices"
    return "one quantity" if record.category is Category.ALL else "quantities by category"


def _other(record: Record, here: Record) -> str:
    there = record.location
    return f"line {there.line}" if there.file == here.location.file else str(there)


def _keys(uses: Sequence[Record]) -> tuple[Key, ...]:
    """A key for each application and licence status of a device list.

    The report says already which licences count (`not_counted_reason`), so the key is an unlimited
    subscription in force: the rules for dates that a report does not tell have nothing to say.
    """
    number = Counter(use.serial for use in uses)
    return tuple(
        Key(
            serial=serial,
            name=use.application,
            key_type=SUBSCRIPTION,
            subscription=True,
            state=ACTIVE,
            end_date_type=UNLIMITED,
            used=number[serial],
            not_counted_reason=use.not_counted_reason,
        )
        for serial, use in {use.serial: use for use in uses}.items()
    )


def _devices(uses: Sequence[Record]) -> dict[str, Device]:
    """The devices by id. Those that count must agree on what a device is; they say it first."""
    told: dict[str, Record] = {}
    for use in sorted(uses, key=lambda use: bool(use.not_counted_reason)):
        earlier = told.setdefault(use.device_id, use)
        if not use.not_counted_reason and fold(earlier.os_name) != fold(use.os_name):
            raise refusal(
                use.location,
                f"the device {shown(use.device)} of {shown(use.company)} has the operating system "
                f"{shown(use.os_name)}, and {shown(earlier.os_name)} in {_other(earlier, use)}",
                remedy="Give each device of a company its own name, or export the report again.",
            )
    return {id_: Device(id_, use.device, use.os_name) for id_, use in told.items()}
