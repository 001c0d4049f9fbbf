"""Does it count? The rules for keys, for their uses, and for what a device is.

Kaspersky's own integration counts "only unexpired and active commercial keys and subscriptions"
(https://support.kaspersky.com/MSP/3.0/160671.htm). Which attributes of the OpenAPI that means is
modelled on Kaspersky's licence sample: a limit date in the future and, for subscriptions, state 0.
Attributes: https://support.kaspersky.com/help/KSC/13/KSCAPI/a00115.html (keys),
.../KSC/16/KSCAPI/a00078.html (uses), .../KSC/14/KSCAPI/a00278.html (computer type).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache

from kisi.model import Application, CountingRules, Device, DeviceClass, Glob, Key, KeyRow, TenantRef

COMMERCIAL, BETA, TRIAL, TEST, OEM, SUBSCRIPTION = 1, 2, 3, 4, 5, 6
_TYPE_NAMES = {BETA: "beta key", TRIAL: "trial key", TEST: "test key", OEM: "OEM key"}

ACTIVE, PAUSED, SOFT_CANCELLED, HARD_CANCELLED = 0, 1, 2, 3
_STATE_NAMES = {
    PAUSED: "paused subscription",
    SOFT_CANCELLED: "soft-cancelled subscription",
    HARD_CANCELLED: "hard-cancelled subscription",
}

SUSPENDED = frozenset({_STATE_NAMES[PAUSED], _STATE_NAMES[SOFT_CANCELLED]})
"""The reasons of subscriptions that nobody pays for now, or soon."""

UNLIMITED, LIMITED, PAUSED_END = 1, 2, 3

_FIRST, _LAST = (x.replace(tzinfo=UTC) for x in (datetime.min, datetime.max))  # noqa: DTZ901

CANCELLED = _STATE_NAMES[HARD_CANCELLED]
NOT_STORED = "not in the server's own storage"
EXPIRED = "expired"


class Reason(StrEnum):
    """Why a use of a key does not count; the later ones say more of its device."""

    RESERVE = "reserve key"
    UNSAID = "not said to be the active key"
    EXPIRED_ON_DEVICE = "expired on the device"
    PENDING = "activation pending"
    FOREIGN_DEVICE = "not a device of this server"


@dataclass(frozen=True, slots=True)
class Ruling:
    """Whether something counts, and why, in words."""

    reason: str
    warning: str = ""
    """What contradicts itself in the data, or should not be missing, in words."""
    settings: tuple[str, ...] = ()
    """What would together count it under `[counting]`; empty if it counts, or never would."""
    counts: bool = False


def judge_key(key: Key, rules: CountingRules, now: datetime) -> Ruling:
    """Whether the uses of `key` count at `now` (aware, UTC). The first rule that fails names it.

    An expired OEM key has no `settings`: `oem = true` alone would change nothing.
    """
    failed = list(_failed(key, rules, now))
    if not failed:
        soft = key.state == SOFT_CANCELLED
        kind = _STATE_NAMES[SOFT_CANCELLED] if soft else "subscription"
        return Ruling(kind if is_subscription(key) else "commercial", counts=True)
    liftable = all(each.settings for each in failed)
    return replace(failed[0], settings=sum((x.settings for x in failed), ()) if liftable else ())


def _failed(key: Key, rules: CountingRules, now: datetime) -> Iterator[Ruling]:
    """What each rule says that `key` does not pass, in the order in which they name it."""
    subscription = is_subscription(key)
    if key.not_counted_reason:
        yield Ruling(key.not_counted_reason)
    if key.key_type in (BETA, TRIAL, TEST):
        yield Ruling(_TYPE_NAMES[key.key_type])
    elif not subscription and key.key_type not in (COMMERCIAL, OEM):
        yield Ruling("key of an unknown type", "key without a known type")
    elif not (subscription or key.key_type == COMMERCIAL or rules.oem):
        yield Ruling(_TYPE_NAMES[OEM], settings=("oem",))
    if subscription:
        yield from _state(key, rules)
    yield from _dates(key, rules, now)
    if not (key.stored or rules.reported_keys):
        yield Ruling(NOT_STORED, settings=("reported_keys",))


def is_subscription(key: Key) -> bool:
    """Subscriptions are flagged, or have key type 6; the licence period says nothing of them."""
    return key.subscription or key.key_type == SUBSCRIPTION


def _state(key: Key, rules: CountingRules) -> Iterator[Ruling]:
    if key.state is None:
        yield Ruling("subscription without a state", "subscription that reports no state")
    elif key.state == SOFT_CANCELLED:
        if not rules.soft_cancelled:
            yield Ruling(_STATE_NAMES[SOFT_CANCELLED], settings=("soft_cancelled",))
    elif key.state != ACTIVE:
        name = f"subscription in the unknown state {key.state}"
        yield Ruling(_STATE_NAMES.get(key.state, name), "" if key.state in _STATE_NAMES else name)
    if key.end_date_type == PAUSED_END:
        yield Ruling(_STATE_NAMES[PAUSED])


def _dates(key: Key, rules: CountingRules, now: datetime) -> Iterator[Ruling]:
    unlimited = is_subscription(key) and key.end_date_type == UNLIMITED
    if key.limit_date is None:
        if not unlimited:
            yield Ruling("no limit date", "key that reports no limit date")
    elif key.limit_date <= now:
        odd = "subscription that is called unlimited and has a limit date in the past"
        yield Ruling(EXPIRED, odd if unlimited else "")
    end = _end_date(key)
    if end is None or end > now:
        return
    if _grace_ends(key, end) <= now:
        yield Ruling(EXPIRED)
    elif not rules.grace:
        yield Ruling("subscription in its grace term", settings=("grace",))


def _end_date(key: Key) -> datetime | None:
    """The date on which a limited subscription ends."""
    return key.end_date if is_subscription(key) and key.end_date_type == LIMITED else None


def _grace_ends(key: Key, end: datetime) -> datetime:
    return end + min(timedelta(days=key.grace_days), _LAST - end)


def expires(key: Key) -> datetime | None:
    """When the key stops counting, if that is known: the earlier of limit date and end date."""
    return min(filter(None, (key.limit_date, _end_date(key))), default=None)


def ends(key: Key, rules: CountingRules) -> Iterator[datetime]:
    """The instants at which the uses of `key`, which count before, do not count any more."""
    end = _end_date(key)
    if end is not None and rules.grace:
        end = _grace_ends(key, end)
    for at in filter(None, (key.limit_date, end)):
        if at > _FIRST and judge_key(key, rules, at - timedelta.resolution).counts:
            yield at


def judge_row(row: KeyRow, rules: CountingRules, now: datetime) -> Ruling:
    """Whether one use of a key counts at `now`: the device's active key, not expired, activated."""
    if not row.current:
        return Ruling(Reason.UNSAID if row.current is None else Reason.RESERVE)
    if row.expires is not None and row.expires <= now:
        return Ruling(Reason.EXPIRED_ON_DEVICE)
    if row.pending and not rules.pending:
        return Ruling(Reason.PENDING, settings=("pending",))
    return Ruling("active key", counts=True)


# Computer type bits (CT_*). 0x1 and 0x2 are LAN services that any desktop has, not its class.
_DOMAIN_CONTROLLER = 0x18
_SERVER_NT = 0x8000
_UNIX_OR_LINUX = 0x200800
_NT_OR_WINDOWS = 0x401000

_MOBILE_ANYWHERE = ("windows mobile", "windows phone", "windows ce")
_MOBILE_PREFIX = ("android", "ios", "ipados", "symbian", "blackberry")
_WINDOWS_PREFIX = ("microsoft windows", "windows", "microsoft hyper-v")


def classify(device: Device) -> DeviceClass:
    """What the device is: from the operating system's name, or without one from the type bits.

    Names are not localised (https://support.kaspersky.com/help/KSC/14/KSCAPI/a00475.html).
    """
    return _class_of(device.os_name, device.ctype)


@lru_cache(maxsize=1024)  # thousands of devices have the same few systems
def _class_of(os_name: str, ctype: int) -> DeviceClass:
    name = os_name.strip().strip("<>").casefold()
    if not name:
        return _by_bits(ctype)
    if any(word in name for word in _MOBILE_ANYWHERE) or name.startswith(_MOBILE_PREFIX):
        return DeviceClass.MOBILE
    if not name.startswith(_WINDOWS_PREFIX):
        return DeviceClass.OTHER
    if "server" in name or ctype & (_SERVER_NT | _DOMAIN_CONTROLLER):
        return DeviceClass.WINDOWS_SERVER
    return DeviceClass.WINDOWS_WORKSTATION


def _by_bits(ctype: int) -> DeviceClass:
    if ctype & _UNIX_OR_LINUX:
        return DeviceClass.OTHER
    if ctype & _SERVER_NT or (ctype & _NT_OR_WINDOWS and ctype & _DOMAIN_CONTROLLER):
        return DeviceClass.WINDOWS_SERVER
    return DeviceClass.WINDOWS_WORKSTATION if ctype & _NT_OR_WINDOWS else DeviceClass.UNKNOWN


def own_id(tenant: TenantRef, device: str) -> str:
    """The id as its tenant has it: a source whose ids are unique in a tenant has `TENANT/ID`.

    >>> own_id(TenantRef("hub", "Contoso"), "Contoso/pc-01")
    'pc-01'
    """
    return device.removeprefix(f"{tenant.tenant}/")


def identity(tenant: TenantRef, device: str) -> str:
    """The id by which a device is the same in whatever tenant it appears.

    32 random hexadecimal digits, as a GUID has them, are of one device. Anything shorter may be a
    name or a number that each tenant has, or the address of a dock: it is of its tenant alone.
    """
    own = own_id(tenant, device)
    digits = _AROUND_DIGITS.sub("", own) if own != device else ""
    return own if _RANDOM.fullmatch(digits) and len({*digits}) > _FEW else device


_AROUND_DIGITS, _RANDOM, _FEW = re.compile(r"[-{}]"), re.compile(r"[0-9a-f]{32,}"), 4
_INSTALLED_ANEW = re.compile(r"~~\d+$")


def name_before(name: str) -> str:
    """The name without what Security Center appends for a device that was installed anew.

    `PC-01~~10281` is `PC-01` again, whose old record may still be there (KSC help, 9299).
    """
    return _INSTALLED_ANEW.sub("", name)


class Matcher:
    """Finds the application a key name belongs to: of several, the longest literal prefix wins."""

    def __init__(self, applications: Iterable[Application]) -> None:
        self._globs = [(app, Glob(text)) for app in applications for text in app.globs]
        self._known: dict[str, tuple[Application, ...]] = {}

    def match(self, key_name: str) -> Application | None:
        """The application of `key_name`, or None if none matches or several match equally well."""
        found = self.matches(key_name)
        return found[0] if len(found) == 1 else None

    def matches(self, key_name: str) -> tuple[Application, ...]:
        """The best applications: none, one, or several that tie."""
        if key_name not in self._known:
            hits = [
                (app, glob.literal_prefix) for app, glob in self._globs if glob.matches(key_name)
            ]
            longest = max((prefix for _, prefix in hits), default=0)
            best = {app.name: app for app, prefix in hits if prefix == longest}
            self._known[key_name] = tuple(best.values())
        return self._known[key_name]


@dataclass(frozen=True, slots=True)
class CountingContext:
    """What a count is made by."""

    matcher: Matcher
    billed: frozenset[str]
    """Names of the applications that some product bills."""
    rules: CountingRules
    now: datetime
    """The instant at which keys must be unexpired (aware, UTC)."""
    split: frozenset[str] = frozenset()
    """Names of those that some product bills by category."""

    def selects(self, key: Key) -> bool:
        """Whether the devices that use `key` must be read from the source.

        They must if the key counts and its application is billed. For everything else the server's
        own figure is enough, except where it gives none.
        """
        found = self.matcher.match(key.name)
        wanted = key.used is None or (found is not None and found.name in self.billed)
        never = not wanted or self.never_bills(key)
        return not never and judge_key(key, self.rules, self.now).counts

    def never_bills(self, key: Key) -> bool:
        """Whether `key` is of an application with `bill = false`."""
        found = self.matcher.match(key.name)
        return found is not None and not found.bill
