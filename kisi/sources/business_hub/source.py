"""The Business Hub source: report files in, one complete reading a company out."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from kisi.errors import KisiError, SourceError
from kisi.model import Finding, Level, Reading, Tenant, TenantRef
from kisi.sources import Select
from kisi.sources.business_hub.files import (
    ReportFile,
    newest_files,
    read_settled,
    refuse_stale,
)
from kisi.sources.business_hub.records import readings
from kisi.sources.business_hub.report import Record, parse_report
from kisi.sources.business_hub.settings import HubSettings
from kisi.sources.business_hub.table import parse_table
from kisi.transport import Clock, Limits


class BusinessHub:
    """A `UsageSource` over exported reports.

    The files are read once; all answers of one object come from the same bytes. Whatever is wrong
    with one row fails the whole source: a report that is wrong in one place is not known to be
    right in the others.

    Args:
        name: The section name of `[sources.NAME]`.
        settings: That section.
        base: The folder that `files` is relative to.
        clock: Tells the time, and waits for a file that was modified this moment.
        cap: The largest file that is read, in bytes.
    """

    def __init__(
        self, name: str, settings: HubSettings, *, base: Path, clock: Clock, cap: int
    ) -> None:
        self.name = name
        self._settings = settings
        self._base = base
        self._clock = clock
        self._cap = cap
        self._read: dict[TenantRef, Reading] | None = None

    def files(self) -> tuple[ReportFile, ...]:
        """The newest file of each pattern, whatever its age; for `kisi check --online`.

        Raises:
            SourceError: A pattern has no file, or a file cannot be looked at.
        """
        return newest_files(self._settings.files, self._base)

    def tenants(self) -> tuple[Tenant, ...]:
        """All companies of the reports, in their order.

        Raises:
            SourceError: A report is missing, too old, still being written, or wrong in any place.
        """
        return tuple(reading.tenant for reading in self._readings().values())

    def read(
        self, tenants: Collection[Tenant], select: Select
    ) -> Iterator[tuple[TenantRef, Reading | KisiError]]:
        """Each of `tenants` whole; if a report is wrong, that error for all of them."""
        try:
            found = self._readings()
        except SourceError as error:
            yield from ((tenant.ref, error) for tenant in tenants)
            return
        for tenant in tenants:
            reading = found.get(tenant.ref)
            yield tenant.ref, _selected(reading, select) if reading else self._absent()

    def check_online(self) -> tuple[Finding, ...]:
        """The newest reports and their age, and whether they can be read whole."""
        try:
            files = self.files()
            tenants = self.tenants()
        except SourceError as error:
            return (Finding(Level.PROBLEM, error.message, error.remedy),)
        ages = (
            Finding(
                Level.OK,
                f"sources.{self.name} reads {file.path}, "
                f"{file.age(self._clock.now()).total_seconds() / 3600:.0f} h old.",
            )
            for file in files
        )
        return (*ages, Finding(Level.OK, f"sources.{self.name} has {len(tenants)} companies."))

    def address(self) -> tuple[str, int] | None:
        """None: reports are files."""
        return None

    def close(self) -> None:
        """Nothing stays open between calls."""

    def _readings(self) -> dict[TenantRef, Reading]:
        if self._read is None:
            files = self.files()
            records = [record for file in files for record in self._records(file)]
            modified = {file.path: file.modified for file in files}
            self._read = readings(self.name, records, modified)
        return self._read

    def _records(self, file: ReportFile) -> tuple[Record, ...]:
        refuse_stale(file, self._settings.max_age_hours, self._clock.now())
        content = read_settled(file, self._clock, cap=self._cap)
        table = parse_table(
            file.path,
            content,
            [heading for _, heading in self._settings.columns],
            final_line_end=self._settings.final_line_end,
        )
        return parse_report(table, self._settings)

    def _absent(self) -> SourceError:
        return SourceError(
            f'The reports of the source "{self.name}" do not name this company. '
            "Nothing of it was counted, and its lines stay as they are.",
            remedy="See whether it was renamed or removed there; then correct mapping.toml.",
        )


def _selected(reading: Reading, select: Select) -> Reading:
    """`reading` with the rows and devices of those keys only that `select` asks for.

    Devices of a licence that the report calls expired, say, stay too: they are left out by name.
    """
    serials = {key.serial for key in reading.keys if key.not_counted_reason or select(key)}
    rows = tuple(row for row in reading.rows if row.serial in serials)
    named = {row.device for row in rows}
    devices = {name: device for name, device in reading.devices.items() if name in named}
    return replace(reading, rows=rows, devices=devices)


def open_source(
    name: str,
    settings: HubSettings,
    secrets: Mapping[str, str],  # noqa: ARG001 - every source is opened alike; this one has none
    *,
    base: Path,
    clock: Clock,
    limits: Limits,
) -> BusinessHub:
    """The source of one `[sources.NAME]` section. Opens no file yet."""
    return BusinessHub(name, settings, base=base, clock=clock, cap=limits.body)
