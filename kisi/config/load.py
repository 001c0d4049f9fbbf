"""Turns `kisi.toml` into a `Config`, with all problems of the whole file at once."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_type_hints
from zoneinfo import ZoneInfo, available_timezones

from platformdirs import site_data_path, user_state_path
from pydantic import AfterValidator, Field, create_model, model_validator

from kisi.config.document import read_document
from kisi.config.sentences import Model, did_you_mean, listed, nearest, place, read_table, shorten
from kisi.config.settings import LocalPath, SecretRef, SecretRefs, Section, Table, Text
from kisi.errors import ConfigError, StateError
from kisi.files import JOURNAL
from kisi.model import CountingRules, Finding, GuardRules, Level, OutlookRules
from kisi.secrets import SecretReference, resolve

if sys.platform == "win32":
    from kisi import windows

Kinds = Mapping[str, type[Section]]
"""`kind` to the settings class of the source or PSA that it names."""

Secrets = Mapping[tuple[str, str], Mapping[str, str]]
"""`("sources", "hq")` to field to secret; the addresses of `[notify]` are at `("notify", "")`."""

_LOGIN_NAME = "user"
"""How the key of a login name ends. It is kept beside its password, but a common word such as
`kisi` or `Kaspersky`: masked, it would make holes in the paths and names that messages give."""
_TABLES = ("sources", "psa", "counting", "guards", "outlook", "notify", "invoices")
_WHICH = ("kind", "url", "company")
"""The keys of a section that say which system it is."""
_SECTION_NAME = re.compile(r"[A-Za-z0-9_-]+")


class SystemZone(tzinfo):
    """The zone that this machine is set to, with its rules for summer time.

    `datetime.astimezone()` knows only the offset of one moment, and Windows does not tell its
    zone's IANA name; the C library knows the offset of every moment.
    """

    def utcoffset(self, when: datetime | None) -> timedelta | None:
        """How far local time is ahead of UTC at the local time `when`."""
        return timedelta(seconds=_local(when).tm_gmtoff) if when else None

    def dst(self, when: datetime | None) -> timedelta | None:
        """Not known apart from the offset."""
        del when
        return None

    def tzname(self, when: datetime | None) -> str | None:
        """The abbreviation in use at the local time `when`, such as `CET`."""
        return _local(when).tm_zone if when else None

    def fromutc(self, when: datetime) -> datetime:
        """Turns the UTC time `when` into local time; of an hour that comes twice it knows which."""
        moment = when.replace(tzinfo=UTC)
        local = moment.astimezone().replace(tzinfo=None)
        again = local.timestamp() != moment.timestamp()
        return local.replace(tzinfo=self, fold=int(again))

    def __str__(self) -> str:
        return "the system's time zone"


def _local(when: datetime) -> time.struct_time:
    return time.localtime(when.replace(tzinfo=None).timestamp())


def system_zone() -> tzinfo:
    """The zone that this machine is set to, by its IANA name where Windows' name has one."""
    if sys.platform == "win32":
        with suppress(LookupError, ValueError, OSError):
            return ZoneInfo(windows.system_zone())
    return SystemZone()


def _zone_name(name: str) -> str:
    if sys.platform == "win32":
        name = windows.zone_of(name)
    try:
        return ZoneInfo(name).key
    except (KeyError, ValueError, OSError):
        near = nearest(name, available_timezones())
        hint = f'did you mean "{near}"?' if near else 'write a name such as "Europe/Berlin".'
        raise ValueError(f'There is no time zone "{shorten(name)}"; {hint}') from None


Days = Annotated[int, Field(ge=1, le=36_500)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Tables = Annotated[dict[str, Any], Field(default_factory=dict)]


class Top(Table):
    """The keys outside all tables, and the tables, whose keys are checked one by one later."""

    mapping: LocalPath | None = None
    state_dir: LocalPath | None = None
    timezone: Annotated[str, AfterValidator(_zone_name)] | None = None
    evidence_days: Days = 400
    parts: tuple[LocalPath, ...] = ()
    """The kisi.toml of each part of a fleet that is split; this file may be among them."""
    sources: Tables
    psa: Tables
    counting: Tables
    guards: Tables
    outlook: Tables
    notify: Tables
    invoices: Tables


_AnyRules = type[CountingRules | GuardRules | OutlookRules]


def _table_of(rules: _AnyRules, **narrower: Any) -> type[Table]:  # noqa: ANN401 - types
    """The table of kisi.toml with the fields of `rules` and their defaults."""
    kinds = get_type_hints(rules) | narrower
    limited = {int: Days, float: Amount}
    keys: dict[str, Any] = {
        each.name: (limited.get(kinds[each.name], kinds[each.name]), each.default)
        for each in fields(rules)
    }
    return create_model(rules.__name__, __base__=Table, **keys)


Counting = _table_of(
    CountingRules,
    unknown_device=Literal["windows_workstations", "windows_servers", "non_windows", "hold"],
    unseen_days=Annotated[int, Field(ge=0, le=36_500)],
)
"""`[counting]`."""

Guards = _table_of(GuardRules, adopt=Literal["hold", "allow"], drift=Literal["hold", "overwrite"])
"""`[guards]`."""

Announced = _table_of(OutlookRules)
"""`[outlook]`."""


class Notify(Table):
    """`[notify]`: the addresses that hear of a run, as references, because they are secrets."""

    healthcheck: SecretRef = None
    webhook: SecretRef = None
    apprise: SecretRefs = ()
    """Services of people, as Apprise names them (extra `notify`): `mailto://...`, `slack://...`."""
    when: Literal["attention", "changes", "always"] = "attention"
    """Which runs people are told of: exit code not 0; or lines were written, too; or each."""

    def secrets(self, name: str = "") -> dict[str, str]:
        """The references that are set, by field; there is no default, and None tells nobody.

        Those of `apprise` are `apprise, entry 1` and so on.
        """
        del name
        one = {"healthcheck": self.healthcheck, "webhook": self.webhook}
        several = {f"apprise, entry {at}": each for at, each in enumerate(self.apprise, 1)}
        return {field: reference for field, reference in (one | several).items() if reference}


def _text_encoding(name: str) -> str:
    try:
        "a".encode(name).decode(name)
    except (LookupError, UnicodeError):  # none at all, or one that makes no text of bytes
        raise ValueError(f'"{shorten(name)}" is no encoding; "utf-8" or "cp1252" is.') from None
    return name


class InvoiceColumns(Table):
    """The headings of a distributor's file, found without regard to case and outer spaces."""

    customer: Text
    article: str = ""
    name: str = ""
    """Of the article; one of these two at least."""
    quantity: Text
    price: str = ""
    """Of a unit."""
    amount: str = ""
    """Of the row; where there is none, it is quantity times price."""

    @model_validator(mode="after")
    def _names_the_article(self) -> Self:
        if not (self.article or self.name):
            raise ValueError("Name the column of the article's number (article) or name (name).")
        return self


class Invoice(Table):
    """`[invoices.NAME]`: how a distributor writes what it bills. What is empty is detected."""

    delimiter: Literal["", ",", ";", "|", "\t"] = ""
    encoding: Annotated[str, AfterValidator(_text_encoding)] | None = None
    decimal: Literal["", ".", ","] = ""
    thousands: Literal["", ".", ",", " ", "'"] = ""
    columns: InvoiceColumns

    @model_validator(mode="after")
    def _signs_differ(self) -> Self:
        if self.decimal and self.decimal == self.thousands:
            raise ValueError("decimal and thousands must not be the same sign.")
        return self


def default_state_dir() -> Path:
    """Where journal, lock and log are if `state_dir` is not set; `StateError` if in two places.

    On Windows it is the machine's, so that an administrator asks and accepts what a task keeps.
    """
    own = user_state_path("kisi", appauthor=False)
    if sys.platform == "win32":
        return state_dir_of(site_data_path("kisi", appauthor=False), own)
    else:  # noqa: RET505 - else mypy takes it for code that is never reached
        return own


def state_dir_of(machine: Path, own: Path) -> Path:
    """The machine's folder, or the account's own if an older kisi has its journal there."""
    used = [folder for folder in (machine, own) if os.path.exists(folder / JOURNAL)]  # noqa: PTH110
    if len(used) == 2:
        raise StateError(
            f"There are two journals, in {machine} and in {own}, and only one knows what kisi wrote"
            " last. Nothing was read from any source and nothing was written.",
            remedy="Look at both (`kisi status` with `state_dir` in kisi.toml), and rename the"
            " folder of the one that is out of date.",
        )
    return used[0] if used else machine


def _surprises(top: Top, state_dir: Path) -> tuple[Finding, ...]:
    """What is valid, and yet may be another thing for another account."""
    found = []
    if (shift := os.environ.get("TZ")) and not top.timezone:
        what = f"TZ={shorten(shift)} in the environment decides when the billing day begins; a"
        what += " schedule without it may bill by another day."
        found.append((what, 'Set the zone in kisi.toml: timezone = "Europe/Berlin", for instance.'))
    if sys.platform == "win32" and not top.state_dir:
        machine = site_data_path("kisi", appauthor=False)
        if state_dir != machine:
            what = f"The state is in {state_dir}, where an older kisi began it: other accounts of"
            what += " this machine would begin another one."
            move = f'While no run is going on: `robocopy "{state_dir}" "{machine}" /E /MOVE`.'
            found.append((what, move))
    return tuple(Finding(Level.WARNING, what, remedy) for what, remedy in found)


@dataclass(frozen=True, slots=True)
class Config:
    """All of kisi.toml (`path`), validated. Paths are absolute, secrets still references.

    Sections are by name, in the file's order. The billing time zone decides what day today is.
    """

    path: Path
    mapping_path: Path
    state_dir: Path
    """The folder of journal, lock and logs; it may not exist yet."""
    timezone: tzinfo
    evidence_days: int
    sources: Mapping[str, Section]
    psa: Mapping[str, Section]
    source_names: tuple[str, ...]
    """What mapping.toml may name: also wrong sections, and those of other parts."""
    psa_names: tuple[str, ...]
    global_sources: frozenset[str]
    """Those of the sources whose tenant ids are the same in each of them."""
    parts: tuple[Config, ...]
    """The other parts of the fleet, which bill the other clients of mapping.toml."""
    counting: CountingRules
    guards: GuardRules
    outlook: OutlookRules
    notify: Notify
    invoices: Mapping[str, Invoice]

    @property
    def base(self) -> Path:
        """The folder of kisi.toml, from which relative paths start."""
        return self.path.parent

    def references(self) -> Iterator[SecretReference]:
        """Where each secret is that kisi.toml names, or leaves to its default."""
        return (SecretReference.parse(x) for _, each in _secrets(self) for x in each.values())


@dataclass(frozen=True, slots=True)
class PartialConfig:
    """What can be used of a kisi.toml that may be wrong in places, for `kisi check`."""

    config: Config
    """Wrong keys have their defaults, wrong sections are left out: never to be run with."""
    problems: tuple[str, ...]
    surprises: tuple[Finding, ...] = ()
    """What is valid, and yet may be another thing for another account of this machine."""

    def checked(self, more: Sequence[str] = ()) -> Config:
        """The whole of kisi.toml, if nothing is wrong with it and `more` names no problem either.

        Else all problems are raised, each as `kisi.toml: [sources.hq] url: Sentence.`
        """
        if problems := (*self.problems, *more):
            raise ConfigError(
                problems,
                remedy=f"Correct {self.config.path}, then run `kisi check`. Nothing was sent.",
            )
        return self.config


_INIT = "`kisi init` writes a kisi.toml to start from."
_PARTS = "`parts` names the kisi.toml of each other part of the fleet, or a copy of it."


def read_partial_config(
    path: Path, source_kinds: Kinds, psa_kinds: Kinds, *, of_part: bool = False
) -> PartialConfig:
    """Reads as much of `kisi.toml` as is right, and collects what is not.

    Of another part, it is read without its own `parts`.
    Raises `ConfigError` where the file cannot be read, or is not TOML: nothing of it can be used.
    """
    path = path.expanduser().absolute()
    data = read_document(path, if_missing=_PARTS if of_part else _INIT).data
    reader = _Reader(path.parent)
    top = reader.table(Top, {k: {} if isinstance(v, dict) else v for k, v in data.items()}, ())
    tables = {key: each if isinstance(each := data.get(key), dict) else {} for key in _TABLES}
    counting = reader.table(Counting, tables["counting"], ("counting",))
    guards = reader.table(Guards, tables["guards"], ("guards",))
    outlook = reader.table(Announced, tables["outlook"], ("outlook",))
    notify = reader.table(Notify, tables["notify"], ("notify",))
    mapping = top.mapping
    if mapping and os.path.isdir(mapping):  # noqa: PTH112  `is_dir` may raise where nothing is read
        reader.problems.append(f"mapping: {mapping} is a folder; name the file in it.")
        mapping = None
    state_dir = top.state_dir or default_state_dir()
    others = [
        read_partial_config(part, source_kinds, psa_kinds, of_part=True)
        for part in dict.fromkeys(() if of_part else top.parts)
        if part.resolve() != path.resolve()
    ]
    for part in others:
        folder = part.config.path.parent
        reader.problems += (f"parts: {folder}{os.sep}{problem}" for problem in part.problems)
    parts = tuple(part.config for part in others)
    config = Config(
        path=path,
        mapping_path=mapping or path.parent / "mapping.toml",
        state_dir=state_dir,
        timezone=ZoneInfo(top.timezone) if top.timezone else system_zone(),
        evidence_days=top.evidence_days,
        sources=reader.sections("sources", tables["sources"], source_kinds),
        psa=reader.sections("psa", tables["psa"], psa_kinds),
        source_names=(*tables["sources"], *(name for x in parts for name in x.source_names)),
        psa_names=(*tables["psa"], *(name for x in parts for name in x.psa_names)),
        global_sources=frozenset(reader.global_sources).union(*(x.global_sources for x in parts)),
        parts=parts,
        counting=CountingRules(**counting.model_dump()),
        guards=GuardRules(**guards.model_dump()),
        outlook=OutlookRules(**outlook.model_dump()),
        notify=notify,
        invoices=reader.named("invoices", tables["invoices"], lambda *_: Invoice),
    )
    reader.problems += (f"parts: {x.path}: {clash}" for x in parts for clash in _clashes(config, x))
    problems = tuple(f"{path.name}: {problem}" for problem in reader.problems)
    return PartialConfig(config, problems, _surprises(top, state_dir))


def _clashes(config: Config, part: Config) -> Iterator[str]:
    """Where two parts of a fleet would bill the same clients, or have one journal."""
    if part.state_dir.resolve() == config.state_dir.resolve():
        yield f"Both parts have the state folder {config.state_dir}; each needs its own."
    tables = {"sources": (config.sources, part.sources), "psa": (config.psa, part.psa)}
    both = {x: sorted(ours.keys() & theirs.keys()) for x, (ours, theirs) in tables.items()}
    for table, (ours, theirs) in tables.items():
        for name in both[table]:
            here, there = ours[name], theirs[name]
            if any(getattr(here, key, "") != getattr(there, key, "") for key in _WHICH):
                yield f"[{table}.{name}] is another system there; give one of them another name."
    if all(both.values()):
        shared = listed([f"{table}.{name}" for table, names in both.items() for name in names])
        yield (
            f"Both parts have {shared}, so both would bill the same clients; a source and a PSA "
            "may be together in one part only."
        )


class _Reader:
    def __init__(self, base: Path) -> None:
        self.problems: list[str] = []
        self.global_sources: set[str] = set()
        self._base = base

    def table(self, model: type[Model], data: Mapping[str, Any], name: tuple[str, ...]) -> Model:
        checked, problems = read_table(model, data, name, self._base)
        self.problems += problems
        return checked

    def sections(self, table: str, data: Mapping[str, Any], kinds: Kinds) -> dict[str, Section]:
        if not data:
            self.problems.append(
                f"[{table}.NAME]: There is none; kisi needs one at least, with a kind of "
                f"{listed(kinds)}."
            )
        return self.named(table, data, lambda name, keys: self._kind(name, keys.get("kind"), kinds))

    def named(
        self,
        table: str,
        data: Mapping[str, Any],
        model_of: Callable[[tuple[str, str], Mapping[str, Any]], type[Model] | None],
    ) -> dict[str, Model]:
        """The tables `[table.NAME]` that are right, each as its model."""
        found: dict[str, Model] = {}
        for name, settings in data.items():
            if not isinstance(settings, dict):
                self.problems.append(
                    f"{place((table,), name)}: Each of these needs a name of its own: "
                    f"write [{table}.NAME] above its keys."
                )
                continue
            where = (table, name)
            if not _SECTION_NAME.fullmatch(name):
                self.problems.append(
                    f"{place(where)}: The name may hold letters from A to Z, digits, - and _ only."
                )
            if model := model_of(where, settings):
                known = len(self.problems)
                checked = self.table(model, settings, where)
                found |= {name: checked} if len(self.problems) == known else {}
        return found

    def _kind(self, name: tuple[str, str], kind: object, kinds: Kinds) -> type[Section] | None:
        if isinstance(kind, str) and kind in kinds:
            if kinds[kind].global_tenant_ids:
                self.global_sources.add(name[1])
            return kinds[kind]
        if isinstance(kind, str):
            problem = f'Unknown kind "{shorten(kind)}"; {did_you_mean(kind, kinds)}'
        else:
            problem = "This key is missing" if kind is None else "This must be text in quotes"
            problem += f"; use one of {listed(kinds)}."
        self.problems.append(f"{place(name, 'kind')}: {problem}")
        return None


def _secrets(config: Config) -> Iterator[tuple[tuple[str, str], Mapping[str, str]]]:
    """The references of each section that has secrets, by field, under its key in `Secrets`."""
    for table, sections in (("sources", config.sources), ("psa", config.psa)):
        yield from (((table, name), one.secrets(name)) for name, one in sections.items())
    yield ("notify", ""), config.notify.secrets("")


def resolve_all(config: Config) -> Secrets:
    """Resolves every secret that `config` names; one `ConfigError` has all that are missing.

    Each is `kisi.toml: [sources.hq] password: Sentence.`
    """
    problems: list[str] = []
    secrets: dict[tuple[str, str], dict[str, str]] = {}
    for key, references in _secrets(config):
        found = secrets[key] = {}
        where = f"{config.path.name}: {place(tuple(filter(None, key)))}"
        for field, reference in references.items():
            hidden = not field.endswith(_LOGIN_NAME)
            try:
                found[field] = resolve(reference, base=config.path.parent, hidden=hidden)
            except ConfigError as error:
                problems += [f"{where} {field}: {problem}" for problem in error.problems]
    if problems:
        raise ConfigError(
            problems, remedy="Provide what is missing, then run `kisi check`. Nothing was sent."
        )
    return secrets
