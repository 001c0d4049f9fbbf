"""What is billed to whom: the mapping, its globs and the rules, as values."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta, tzinfo
from enum import StrEnum
from typing import NamedTuple, Self


class Glob:
    """A pattern for names in which `*` and `?` are wildcards, in any case.

    Everything else is literal, also `[`, which key names and client names contain.
    """

    __slots__ = ("_pattern", "literal_prefix")

    def __init__(self, text: str) -> None:
        self.literal_prefix = len(re.split(r"[*?]", text, maxsplit=1)[0])
        """How many characters stand before the first wildcard."""
        # It never goes back: each part between stars is found once.
        first, *rest = (
            "".join("." if c == "?" else re.escape(c) for c in part)
            for part in text.casefold().split("*")
        )
        middle = "".join(f"(?>.*?{part})" for part in rest[:-1] if part)
        last = f".*{rest[-1]}" if rest else ""
        self._pattern = re.compile(first + middle + last, re.DOTALL)

    def matches(self, name: str) -> bool:
        """Whether the whole of `name` is meant."""
        return self._pattern.fullmatch(name.casefold()) is not None


class Category(StrEnum):
    """How an application is billed: as one product (`ALL`) or as three."""

    ALL = "all"
    WINDOWS_WORKSTATIONS = "windows_workstations"
    WINDOWS_SERVERS = "windows_servers"
    NON_WINDOWS = "non_windows"


SPLIT = (Category.WINDOWS_WORKSTATIONS, Category.WINDOWS_SERVERS, Category.NON_WINDOWS)
"""The three categories of an application that is billed by category."""


def category_text(categories: Iterable[Category]) -> str:
    """Categories joined by `+`, as the contract's JSON and the journal have them."""
    return "+".join(categories)


def categories_of(text: str) -> tuple[Category, ...]:
    """The categories that are joined in a text by `category_text`."""
    return tuple(Category(category) for category in text.split("+"))


TODAY = "today"
"""The count policy that bills the number of the day."""
_DAY = re.compile(r"day:([1-9]|[12]\d|3[01])")


def is_policy(text: str) -> bool:
    """Whether a text is a count policy: `today`, `peak`, `average`, or `day:1` to `day:31`."""
    return text in {TODAY, "peak", "average"} or _DAY.fullmatch(text) is not None


class Cycle(NamedTuple):
    """How often an agreement is invoiced."""

    months: int
    days: int
    words: str

    @classmethod
    def named(cls, name: str) -> Self | None:
        """The one that a PSA calls so, whose names people choose; None: kisi does not know it.

        >>> Cycle.named("Bi-Weekly")
        Cycle(months=0, days=14, words='every 2 weeks')
        """
        word = _BETWEEN.sub("", name).casefold()
        found = _CYCLE.fullmatch(_CYCLES.get(word, word))
        if found is None:
            return None
        number, unit = int(found[1] or 1), found[2]
        months, days = _UNITS[unit]
        words = f"a {unit}" if number == 1 else f"every {number} {unit}s"
        return cls(number * months, number * days, words)


_BETWEEN = re.compile(r"(?<!\d)[\W_]|[\W_](?!\d)")  # `1.5 months` are not 15
_CYCLE = re.compile(r"(?:every)?([1-9][0-9]?)?(day|week|month|quarter|year)(?:s|ly)?")
_UNITS = {"day": (0, 1), "week": (0, 7), "month": (1, 0), "quarter": (3, 0), "year": (12, 0)}
_CYCLES = {"daily": "day", "biweekly": "2week", "fortnightly": "2week", "fourweekly": "4week"}
_CYCLES |= {"bimonthly": "2month", "halfyearly": "6month", "semiannual": "6month"}
_CYCLES |= {"semiannually": "6month", "annual": "year", "annually": "year", "biennial": "2year"}


class DeviceClass(StrEnum):
    """What a device is. `MOBILE` and `OTHER` are both billed as non-Windows devices."""

    WINDOWS_WORKSTATION = "windows_workstation"
    WINDOWS_SERVER = "windows_server"
    MOBILE = "mobile"
    OTHER = "other"
    UNKNOWN = "unknown"


class Unit(StrEnum):
    """What one unit of an application is."""

    DEVICE = "device"
    USER = "user"
    MAILBOX = "mailbox"


@dataclass(frozen=True, slots=True, order=True)
class TenantRef:
    """A client on the Kaspersky side, `source:tenant` in mapping.toml."""

    source: str
    """The section name of `[sources.NAME]`."""
    tenant: str
    """KSC: `KLVSRV_UID`. Business Hub: the company's name in the report."""

    def __str__(self) -> str:
        return f"{self.source}:{self.tenant}"

    def identity(self, global_sources: Collection[str]) -> TenantRef:
        """Equal for two references to one tenant: in a global source the id alone decides.

        A virtual server that was restored on a second machine keeps its id, in any case.

        >>> {TenantRef(source, "VSRV1").identity({"hq", "new"}) for source in ("hq", "new")}
        {TenantRef(source='', tenant='vsrv1')}
        """
        if self.source in global_sources:
            return TenantRef("", self.tenant.casefold())
        return self


@dataclass(frozen=True, slots=True)
class Application:
    """A Kaspersky application as the MSP bills it."""

    name: str
    keys: tuple[str, ...] = ()
    """Case-insensitive globs on the key name; empty means `name` + `*`."""
    unit: Unit = Unit.DEVICE
    bill: bool = True
    articles: tuple[str, ...] = ()
    """Globs on the numbers or names of what a distributor bills for it; empty means `globs`."""

    @property
    def globs(self) -> tuple[str, ...]:
        """The patterns a key name is matched with."""
        return self.keys or (self.name + "*",)


@dataclass(frozen=True, slots=True)
class ProductRow:
    """Which PSA products bill an application: one (`all`), or one a category."""

    application: str
    psa: str
    products: Mapping[Category, str] = field(default_factory=dict)
    """Category to product id. Empty where `bill` is false, or only `count` is an exception."""
    bill: bool = True
    """False only in a client's exception: its lines of this application are managed by hand."""
    count: str = ""
    """The count policy: `today`, `peak`, `average`, `day:N`; empty: `today`, or the general one."""

    def over(self, general: ProductRow | None) -> ProductRow:
        """An exception in force: what it does not name, it has from the general row.

        >>> general = ProductRow("KES", "cw", {Category.ALL: "1200"}, count="peak")
        >>> ProductRow("KES", "cw", {Category.ALL: "1250"}).over(general).count
        'peak'
        """
        if general is None or not self.bill:
            return self
        products, count = self.products or general.products, self.count or general.count
        return replace(self, products=products, count=count)


@dataclass(frozen=True, slots=True)
class Company:
    """A client: its tenants on one side, its agreement on the other."""

    name: str
    tenants: tuple[TenantRef, ...]
    psa: str
    company: str
    """ConnectWise: the company id. Tigerpaw: the account number."""
    agreement: str
    billing: bool = True
    exceptions: tuple[ProductRow, ...] = ()
    alongside: tuple[str, ...] = ()
    """Other agreements of this company that bill the same products on purpose."""
    purchased_as: tuple[str, ...] = ()
    """Its names on a distributor's invoice; empty means `name`."""
    until: date | None = None
    """The last day of a client that leaves: afterwards all its lines are to bill 0."""
    left: bool = False
    """That day is over; `BillingMapping.on` says so. `tenants` are those that it had."""
    begins: date | None = None
    """The first day on which it has one of its tenants, which another client has until then."""

    @property
    def counted(self) -> tuple[TenantRef, ...]:
        """The tenants whose usage it is billed for: none once it has left."""
        return () if self.left else self.tenants


@dataclass(frozen=True, slots=True)
class IgnoredTenant:
    """A tenant that is never billed and never reported: the MSP's own, a lab, a demo."""

    ref: TenantRef
    note: str = ""


@dataclass(frozen=True, slots=True)
class BillingMapping:
    """All of mapping.toml, validated."""

    applications: tuple[Application, ...] = ()
    products: tuple[ProductRow, ...] = ()
    companies: tuple[Company, ...] = ()
    global_sources: frozenset[str] = frozenset()
    """The sources whose tenant ids are the same in each of them; see `TenantRef.identity`."""
    ignored: tuple[IgnoredTenant, ...] = ()
    elsewhere: tuple[Company, ...] = ()
    """The clients that another part of a split fleet bills."""

    @property
    def everyone(self) -> tuple[Company, ...]:
        """The clients of all parts."""
        return *self.companies, *self.elsewhere

    def places(self) -> Mapping[tuple[str, str], Company]:
        """Everyone by the PSA and agreement on which they are billed."""
        return {(one.psa, one.agreement): one for one in self.everyone}

    def on(self, today: date) -> BillingMapping:
        """The mapping as it holds on a day: who has left, and who has which tenants.

        Of the billed clients that name a tenant, the one that leaves first has it up to its
        `until`. A client that has none of its tenants yet is not billed yet.
        """
        ends: dict[TenantRef, date] = {}
        for each in self.everyone:
            if each.billing and each.until is not None and each.until >= today:
                for ref in each.tenants:
                    ends[ref] = min(each.until, ends.get(ref, each.until))

        def as_it_is(each: Company) -> Company:
            last = each.until or date.max
            mine = tuple(ref for ref in each.tenants if last <= ends.get(ref, last))
            if each.until is not None and each.until < today:
                return replace(each, left=True)
            if mine or not each.billing:
                return replace(each, tenants=mine or each.tenants)
            begins = min(ends[ref] for ref in each.tenants) + timedelta(days=1)
            return replace(each, billing=False, begins=begins)

        companies, elsewhere = (map(as_it_is, some) for some in (self.companies, self.elsewhere))
        return replace(self, companies=tuple(companies), elsewhere=tuple(elsewhere))

    def ignores(self, ref: TenantRef) -> IgnoredTenant | None:
        """The row by which a tenant is never billed, under whichever source it stands."""
        same = ref.identity(self.global_sources)
        return next((x for x in self.ignored if x.ref.identity(self.global_sources) == same), None)

    def owners(self) -> Mapping[TenantRef, tuple[TenantRef, Company]]:
        """By identity: each mapped tenant as its row names it, and its client.

        Of two clients that name one tenant, it is the one that is billed, and has not left.
        """
        billed_last = sorted(self.everyone, key=lambda each: (each.billing, not each.left))
        return {
            ref.identity(self.global_sources): (ref, company)
            for company in billed_last
            for ref in company.tenants
        }


@dataclass(frozen=True, slots=True)
class CountingRules:
    """`[counting]`: every default is the literal reading of Kaspersky's rule."""

    grace: bool = False
    soft_cancelled: bool = False
    oem: bool = False
    pending: bool = False
    reported_keys: bool = False
    unknown_device: str = "non_windows"
    """`windows_workstations`, `windows_servers`, `non_windows`, or `hold`."""
    unseen_days: int = 0
    """Counted devices that were not seen for more days are listed; 0: none are."""


@dataclass(frozen=True, slots=True)
class GuardRules:
    """`[guards]`: when a change waits for a person."""

    baseline_days: int = 30
    decrease_percent: float = 25
    decrease_units: float = 3
    increase_percent: float = 50
    increase_units: float = 10
    create_units: float = 500
    run_percent: float = 10
    run_units: float = 50
    adopt: str = "hold"
    """`hold` or `allow`."""
    drift: str = "hold"
    """`hold` or `overwrite`."""


@dataclass(frozen=True, slots=True)
class OutlookRules:
    """`[outlook]`: which licence keys are announced; it changes nothing that is billed."""

    days: int = 30
    """Those that end within so many days."""
    percent: float = 90
    """Those of which more than so many percent of what was bought are in use."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a run bills, by which rules, and when."""

    mapping: BillingMapping
    """As it holds `today`."""
    counting: CountingRules
    guards: GuardRules
    now: datetime
    """Keys must be unexpired now (aware, UTC)."""
    today: date
    """The day in the billing time zone."""
    zone: tzinfo = UTC
    """The billing time zone."""
    outlook: OutlookRules = OutlookRules()
    written: BillingMapping = BillingMapping()
    """The mapping as it is written, to see how it holds on another day."""
