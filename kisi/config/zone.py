"""The billing time zone: by its IANA name, or the one that this machine is set to."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, available_timezones

from kisi.config.sentences import nearest, shorten


def billing_zone(name: str | None) -> tzinfo:
    """The time zone called `name`, or the system's where there is no name.

    Raises:
        ValueError: There is no such zone; the message names the nearest one.
    """
    if name is None:
        return SystemZone()
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        near = nearest(name, available_timezones())
        hint = f'did you mean "{near}"?' if near else 'write a name such as "Europe/Berlin".'
        raise ValueError(f'There is no time zone "{shorten(name)}"; {hint}') from None


class SystemZone(tzinfo):
    """The zone that this machine is set to, with its rules for summer time.

    `datetime.astimezone()` knows only the offset of one moment, and Windows does not tell its
    zone's IANA name; the C library knows the offset of every moment.
    """

    def utcoffset(self, when: datetime | None) -> timedelta | None:
        """How far local time is ahead of UTC at the local time `when`."""
        if when is None:
            return None
        local = time.localtime(when.replace(tzinfo=None).timestamp())
        return timedelta(seconds=local.tm_gmtoff)

    def dst(self, when: datetime | None) -> timedelta | None:
        """Not known apart from the offset."""
        del when
        return None

    def tzname(self, when: datetime | None) -> str | None:
        """The abbreviation in use at the local time `when`, such as `CET`."""
        if when is None:
            return None
        return time.localtime(when.replace(tzinfo=None).timestamp()).tm_zone

    def fromutc(self, when: datetime) -> datetime:
        """Turns the UTC time `when` into local time; of an hour that comes twice it knows which."""
        moment = when.replace(tzinfo=UTC)
        local = moment.astimezone().replace(tzinfo=None)
        again = local.timestamp() != moment.timestamp()
        return local.replace(tzinfo=self, fold=int(again))

    def __str__(self) -> str:
        return "the system's time zone"
