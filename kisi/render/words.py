"""kisi's values in an operator's words."""

from __future__ import annotations

from collections.abc import Sequence

from kisi.errors import ExitCode
from kisi.model import Category, DeviceClass, UnmappedUse

_CATEGORIES = {
    Category.ALL: "",
    Category.WINDOWS_WORKSTATIONS: "workstations",
    Category.WINDOWS_SERVERS: "servers",
    Category.NON_WINDOWS: "non-Windows",
}
CLASSES = {
    DeviceClass.WINDOWS_WORKSTATION: "workstation",
    DeviceClass.WINDOWS_SERVER: "server",
    DeviceClass.MOBILE: "mobile device",
    DeviceClass.OTHER: "other device",
    DeviceClass.UNKNOWN: "unknown device",
}
ENDINGS = {
    ExitCode.OK: "done",
    ExitCode.BUG: "a bug in kisi",
    ExitCode.USAGE: "wrong usage",
    ExitCode.CONFIG: "configuration",
    ExitCode.SOURCE: "a source failed",
    ExitCode.PSA: "a PSA failed",
    ExitCode.WITHHELD: "withheld",
    ExitCode.WRITE: "a write failed",
    ExitCode.STATE: "journal or disk",
    ExitCode.PENDING: "changes pending",
    ExitCode.LOCKED: "another run",
    ExitCode.INTERRUPTED: "interrupted",
}
"""Exit codes in two or three words."""


def billed_as(application: str, categories: Sequence[Category]) -> str:
    """A line as people call it: `KES Advanced, servers`."""
    words = " + ".join(_CATEGORIES[category] for category in categories if _CATEGORIES[category])
    return f"{application}, {words}" if words else application


def unmapped_as(use: UnmappedUse) -> str:
    """What is used and not billed, with a mark where the quantity is only the server's figure."""
    name = billed_as(use.application, (use.category,) if use.category else ())
    return f"{name} (the source's figure)" if use.estimated else name
