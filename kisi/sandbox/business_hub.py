"""A simulated export folder: the reports that somebody takes out of Business Hub every day.

There are two, as docs/business-hub.md describes them: `licences` has one row a company and
application with a number, `devices` one row a device with its operating system. The columns of the
portals' own exports are not documented; these are kisi's, one heading renamed.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from datetime import UTC, datetime, timedelta

from kisi.sandbox.configuration import Part, Report, literal

FOLDER = "exports"
SYSTEMS = {
    "workstations": "Windows 11 Pro",
    "servers": "Microsoft Windows Server 2022",
    "macs": "macOS 15",
    "android": "Android 15",
    "ios": "iOS 18",
}
"""Operating systems by the words of `BusinessHub.add_devices`."""
_ONE_HOUR = timedelta(hours=1)


@dataclass(slots=True)
class Licence:
    """What a company uses of an application, as a number."""

    company: str
    application: str
    category: str
    quantity: int
    status: str


@dataclass(slots=True)
class HubDevice:
    """A device that uses an application."""

    company: str
    application: str
    device: str
    operating_system: str
    status: str


class BusinessHub:
    """What the companies of a Business Hub use, and the reports of it.

    Args:
        now: The clock of whoever exports; an aware datetime. Default: the real one.

    Attributes:
        licences: The rows of the report `licences`, to be changed at will.
        devices: The rows of the report `devices`.
        exported: When the reports were made; None: an hour before kisi's files are written.
        saved_by_excel: They have a line `sep=`, and empty columns and rows beyond the table.
    """

    def __init__(self, now: Callable[[], datetime] | None = None) -> None:
        self.now = now or (lambda: datetime.now(UTC))
        self.licences: list[Licence] = []
        self.devices: list[HubDevice] = []
        self.exported: datetime | None = None
        self.saved_by_excel = False

    def licence(
        self,
        company: str,
        application: str,
        quantity: int,
        *,
        category: str = "all",
        status: str = "Active",
    ) -> Licence:
        """Add a row with a number, and return it to change it later."""
        row = Licence(company, application, category, quantity, status)
        self.licences.append(row)
        return row

    def add_devices(
        self, company: str, application: str, *, status: str = "Active", **systems: int
    ) -> list[HubDevice]:
        """Add devices of a company and return them.

        Args:
            company: The company's name in the report.
            application: The application on them.
            status: Their licence's.
            systems: How many of each of `SYSTEMS`.

        Raises:
            KeyError: There is no such system.
        """
        made = len(self.devices)
        names = [system for word, count in systems.items() for system in [SYSTEMS[word]] * count]
        self.devices += [
            HubDevice(company, application, f"DEVICE-{number:04}", system, status)
            for number, system in enumerate(names, start=made + 1)
        ]
        return self.devices[made:]

    def part(self, mapping: str = "") -> Part:
        """What `Sandbox.add` takes: the section `[sources.hub]` and the reports.

        Args:
            mapping: Rows of `mapping.toml`, for clients that are in Business Hub alone.

        A report that has no row now is never made: kisi would take it for one that was cut off.
        """
        kinds = [kind for kind in ("licences", "devices") if getattr(self, kind)]
        patterns = [f"{FOLDER}/{kind}-*.csv" for kind in kinds]
        config = f"""\
[sources.hub]                         # Business Hub, from exported reports
kind = "business-hub"
files = {literal(patterns)}   # the newest of each is read
max_age_hours = 72

[sources.hub.columns]                 # the report's own headings, where they differ
operating_system = "Operating system"
"""
        return Part(
            "business-hub",
            config=config,
            mapping=mapping,
            reports=lambda: [self.report(kind) for kind in kinds],
        )

    def report(self, kind: str) -> Report:
        """The report `licences` or `devices` as it is exported now."""
        exported = self.exported or self.now() - _ONE_HOUR
        if kind == "licences":
            text = _csv(Licence, self.licences, ",")
        else:
            text = _csv(HubDevice, self.devices, ";")
        if self.saved_by_excel:
            mark = "," if kind == "licences" else ";"
            padded = [line + mark * 2 for line in text.splitlines()]
            text = "\r\n".join([f"sep={mark}", *padded, mark * (padded[0].count(mark)), ""])
        path = f"{FOLDER}/{kind}-{exported:%Y-%m-%d}.csv"
        return Report(path, text.encode("utf-8-sig"), exported)


def _csv(
    kind: type[Licence | HubDevice], rows: Iterable[Licence | HubDevice], delimiter: str
) -> str:
    headings: Sequence[str] = [field.name.replace("_", " ").capitalize() for field in fields(kind)]
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerow(headings)
    writer.writerows(astuple(row) for row in rows)
    return text.getvalue()
