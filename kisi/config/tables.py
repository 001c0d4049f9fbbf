"""The tables of `kisi.toml` that are the same for everybody, and the time zone of billing."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, Field

from kisi.config.sentences import nearest, shorten
from kisi.config.settings import LocalPath, SecretRef, Table
from kisi.model import CountingRules, GuardRules

_COUNTING = CountingRules()
_GUARDS = GuardRules()

Days = Annotated[int, Field(ge=1, le=36_500)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def _zone_name(name: str) -> str:
    billing_zone(name)
    return name


Tables = Annotated[dict[str, Any], Field(default_factory=dict)]


class Top(Table):
    """The keys outside all tables, and the tables, whose keys are checked one by one later."""

    mapping: LocalPath | None = None
    state_dir: LocalPath | None = None
    timezone: Annotated[str, AfterValidator(_zone_name)] | None = None
    evidence_days: Days = 400
    sources: Tables
    psa: Tables
    counting: Tables
    guards: Tables
    notify: Tables


class Counting(Table):
    """`[counting]`, as `kisi.model.CountingRules`."""

    grace: bool = _COUNTING.grace
    soft_cancelled: bool = _COUNTING.soft_cancelled
    oem: bool = _COUNTING.oem
    pending: bool = _COUNTING.pending
    reported_keys: bool = _COUNTING.reported_keys
    unknown_device: Literal["windows_workstations", "windows_servers", "non_windows", "hold"] = (
        "non_windows"
    )
    unseen_days: Annotated[int, Field(ge=0, le=36_500)] = _COUNTING.unseen_days


class Guards(Table):
    """`[guards]`, as `kisi.model.GuardRules`."""

    baseline_days: Days = _GUARDS.baseline_days
    decrease_percent: Amount = _GUARDS.decrease_percent
    decrease_units: Amount = _GUARDS.decrease_units
    increase_percent: Amount = _GUARDS.increase_percent
    increase_units: Amount = _GUARDS.increase_units
    create_units: Amount = _GUARDS.create_units
    run_percent: Amount = _GUARDS.run_percent
    run_units: Amount = _GUARDS.run_units
    adopt: Literal["hold", "allow"] = "hold"
    drift: Literal["hold", "overwrite"] = "hold"


class Notify(Table):
    """`[notify]`: the addresses that hear of a run, as references, because they are secrets."""

    healthcheck: SecretRef = None
    webhook: SecretRef = None

    def secrets(self, name: str = "") -> dict[str, str]:
        """The references that are set, by field; there is no default, and None tells nobody."""
        del name
        fields = {"healthcheck": self.healthcheck, "webhook": self.webhook}
        return {field: reference for field, reference in fields.items() if reference}


# --- the time zone of billing ---------------------------------------------------------------------


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
