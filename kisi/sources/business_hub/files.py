"""Which report files are read, how to be sure that they are finished, how a message names them."""

from __future__ import annotations

import glob
import os
import stat
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from kisi.errors import SourceError
from kisi.transport import Clock

SETTLED = timedelta(seconds=2)
"""A file modified more recently is looked at again after this time: it may still be written."""
_SHOWN = 60
AHEAD = timedelta(minutes=5)
"""How far a file server's clock may run ahead of ours."""


@dataclass(frozen=True, slots=True)
class Location:
    """Where in a report something is."""

    file: Path
    line: int | None = None
    """Counted from 1, the heading's line included; None concerns the whole file."""

    def __str__(self) -> str:
        return f"{self.file}" if self.line is None else f"{self.file}, line {self.line}"


def refusal(location: Location, what: str, *, remedy: str) -> SourceError:
    """The error for a report that cannot be trusted. `what` is a sentence without its full stop."""
    return SourceError(
        f"Report {location}: {what}. No number of this source was used; "
        "the lines of its clients stay as they are.",
        remedy=remedy,
    )


def fold(text: str) -> str:
    """`text` for comparisons: without regard to case, white space and how accents are composed."""
    return unicodedata.normalize("NFC", " ".join(text.split()).casefold())


def shown(text: str) -> str:
    """Text of a report for a message: in quotes, and cut where it is long."""
    return f'"{text}"' if len(text) <= _SHOWN else f'"{text[:_SHOWN]}..."'


@dataclass(frozen=True, slots=True)
class ReportFile:
    """A report as it lies on the disk."""

    path: Path
    modified: datetime
    """When its content last changed (aware, UTC): the numbers are taken to be of this instant."""
    size: int
    stamp: int
    """The modification time in nanoseconds, to notice any change."""

    def age(self, now: datetime) -> timedelta:
        """How old the numbers are at `now`."""
        return now - self.modified


def newest_files(patterns: Sequence[str], base: Path) -> tuple[ReportFile, ...]:
    """The newest file of each pattern, each file once, in the patterns' order.

    Args:
        patterns: Globs relative to `base` (`**` goes down into folders), or absolute.
        base: The folder of the configuration file.

    Raises:
        SourceError: A pattern has no file, or a file cannot be looked at.
    """
    picked: dict[Path, ReportFile] = {}
    for pattern in patterns:
        file = _newest(pattern, base)
        picked.setdefault(file.path.resolve(), file)
    return tuple(picked.values())


def matching(pattern: str, base: Path) -> tuple[Path, ...]:
    """What fits a glob, relative to `base` or absolute."""
    names = sorted(glob.glob(pattern, root_dir=base, recursive=True))  # noqa: PTH207 - Path.glob refuses absolute patterns
    return tuple(base / name for name in names)


def _newest(pattern: str, base: Path) -> ReportFile:
    found = [file for path in matching(pattern, base) if (file := _look(path))]
    if not found:
        raise SourceError(
            f'No report file fits the pattern "{pattern}" in {base}. No number of this source '
            "was used; the lines of its clients stay as they are.",
            remedy="Export the report again, or correct `files` in kisi.toml.",
        )
    return max(found, key=lambda file: (file.stamp, str(file.path)))


def _look(path: Path) -> ReportFile | None:
    """The file at `path`, or None if it is a folder or a device."""
    try:
        status = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from error
    if not stat.S_ISREG(status.st_mode):
        return None
    modified = datetime.fromtimestamp(status.st_mtime, UTC)
    return ReportFile(path, modified, status.st_size, status.st_mtime_ns)


def refuse_stale(file: ReportFile, max_age_hours: float, now: datetime) -> None:
    """Refuses a file older than `max_age_hours`, or from the future: old numbers are no numbers.

    Raises:
        SourceError: It is too old or too new.
    """
    age = file.age(now)
    if age > timedelta(hours=max_age_hours):
        hours = age.total_seconds() / 3600
        raise refusal(
            Location(file.path),
            f"it was last modified {hours:.0f} hours ago, and `max_age_hours` is {max_age_hours:g}",
            remedy="Export the report again; if the export is a scheduled job, see why it stopped.",
        )
    if age < -AHEAD:
        raise refusal(
            Location(file.path),
            f"its modification time {file.modified:%Y-%m-%d %H:%M} UTC lies in the future",
            remedy="Correct the clock of this machine or of the one that writes the report.",
        )


def read_settled(file: ReportFile, clock: Clock, *, cap: int) -> bytes:
    """The whole content of a file that nobody is writing.

    A file modified within `SETTLED` is waited for once. Size and modification time must be the same
    before and after reading.

    Args:
        file: As `newest_files` saw it.
        clock: Tells the time and waits.
        cap: The largest size that is read, in bytes.

    Raises:
        SourceError: It changed meanwhile, is empty, too large or unreadable.
    """
    location = Location(file.path)
    if file.size > cap:
        raise refusal(
            location,
            f"it has {file.size} bytes, more than the {cap} that kisi reads",
            remedy="See whether this is the right file; split it if it is.",
        )
    wait = min(SETTLED - file.age(clock.now()), SETTLED)
    if wait > timedelta(0):
        clock.sleep(wait.total_seconds())
    try:
        with file.path.open("rb") as stream:
            content = stream.read(cap + 1)
            status = os.fstat(stream.fileno())
        now = _look(file.path)
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


def _unreadable(path: Path, error: OSError) -> SourceError:
    return refusal(
        Location(path),
        f"it could not be read ({error.strerror or type(error).__name__})",
        remedy="Let the account that runs kisi read it, and close it in other programs.",
    )
