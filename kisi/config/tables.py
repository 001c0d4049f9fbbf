"""The tables of `kisi.toml` that are the same for everybody; sections belong to their modules."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from kisi.config.settings import LocalPath, SecretRef, Table
from kisi.config.zone import billing_zone
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


class Notifications(Table):
    """`[notify]`: both keys are references, because the addresses are secrets."""

    healthcheck: SecretRef = None
    webhook: SecretRef = None
