"""From the files to open sources and PSAs, and to the log of a run."""

from __future__ import annotations

import getpass
import logging
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from importlib import import_module
from io import TextIOWrapper
from itertools import filterfalse
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, NamedTuple

import platformdirs

from kisi.config import Config, PartialConfig, read_partial_config, resolve_all
from kisi.config.settings import Section
from kisi.errors import ConfigError, StateError
from kisi.mapping.file import ConfigNames, load_mapping
from kisi.model import BillingMapping, Company, Glob, Rules
from kisi.psa import Psa
from kisi.psa.autotask import AutotaskSettings
from kisi.psa.connectwise import ConnectWiseSettings
from kisi.psa.tigerpaw import TigerpawSettings
from kisi.redaction import OneLine, RedactingFilter
from kisi.sources import UsageSource
from kisi.sources.business_hub.report import HubSettings
from kisi.sources.ksc import KscSettings
from kisi.transport import Clock, Limits


class Kind(NamedTuple):
    """A kind of source or PSA: the settings of its section, and where its class is."""

    settings: type[Section]
    adapter: str
    """Module and class; only what opens it loads it."""

    def open(self, name: str, section: Any, secrets: Mapping[str, str], **how: Any) -> Any:  # noqa: ANN401 - each class's own
        """Makes the source or PSA of one section of kisi.toml; sends nothing yet.

        `how` is `base`, where relative paths start, `clock` and `limits`.
        """
        module, _, adapter = self.adapter.rpartition(".")
        return getattr(import_module(f"kisi.{module}"), adapter)(name, section, secrets, **how)


SOURCES = {
    "ksc": Kind(KscSettings, "sources.ksc.source.KscSource"),
    "business-hub": Kind(HubSettings, "sources.business_hub.source.BusinessHub"),
}
PSAS = {
    "autotask": Kind(AutotaskSettings, "psa.autotask.adapter.Autotask"),
    "connectwise": Kind(ConnectWiseSettings, "psa.connectwise.adapter.ConnectWise"),
    "tigerpaw": Kind(TigerpawSettings, "psa.tigerpaw.adapter.Tigerpaw"),
}
SOURCE_KINDS = {name: kind.settings for name, kind in SOURCES.items()}
PSA_KINDS = {name: kind.settings for name, kind in PSAS.items()}
RUN_SECONDS = 1800.0
"""A run ends after so many seconds, whatever hangs, unless it is given others."""
READING_SHARE = 2 / 3
"""The sources are read within this part of them: what was read by then can still be billed."""
_CANDIDATES = 10
_LOG_BYTES, _LOG_FILES = 2 * 2**20, 5
_LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


@dataclass(frozen=True, slots=True)
class Setup:
    """Everything a run works with."""

    config: Config
    mapping: BillingMapping
    sources: Mapping[str, UsageSource]
    psas: Mapping[str, Psa]
    clock: Clock
    digest: str
    """Of both files, to tell later which rules a run had."""
    limits: Limits
    """When a run must end, by `clock.monotonic`, and from when on it writes no other client."""
    reading: Limits
    """When the sources must be read, and from when on no other client is read."""

    def rules(self) -> Rules:
        """The rules as of now."""
        now, config = self.clock.now(), self.config
        today = now.astimezone(config.timezone).date()
        known = (config.counting, config.guards, now, today, config.timezone, config.outlook)
        return Rules(self.mapping.on(today), *known, self.mapping)

    def is_outdated(self) -> bool:
        """Whether one of the files has changed, or is gone, since it was read."""
        try:
            return _digest(self.config) != self.digest
        except OSError:
            return True


def config_path(given: Path | None) -> Path:
    """Finds kisi.toml: the option, `$KISI_CONFIG`, the working folder, the platform's folder."""
    given = given or Path(os.environ.get("KISI_CONFIG", ""))
    if given != Path():
        return given
    user = platformdirs.user_config_path("kisi", appauthor=False)
    places = [Path("kisi.toml"), user / "kisi.toml"]
    for place in places:
        if place.exists():
            return place
    raise ConfigError(
        f"There is no kisi.toml: looked for {' and '.join(map(str, places))}.",
        remedy="`kisi init` writes one; `--config FILE` names another place.",
    )


def clients_named(wanted: str, names: Iterable[str]) -> set[str]:
    """The names that `wanted` is a glob for, in any case, or else the only one that it is part of.

    Raises `ConfigError` if it is part of several.
    """
    names, part = set(names), wanted.strip().casefold()
    if found := set(filter(Glob(wanted).matches, names)):
        return found
    parts = sorted(name for name in names if part and part in name.casefold())
    if len(parts) > 1:
        shown = ", ".join(parts[:_CANDIDATES]) + (" ..." if parts[_CANDIDATES:] else "")
        raise ConfigError(
            f"{len(parts)} clients have {wanted!r} in their name: {shown}.",
            remedy=f"Name one of them in full, or take all of them with '*{wanted}*'.",
        )
    return set(parts)


def partial_config(given: Path | None) -> PartialConfig:
    """As much of kisi.toml as is right, and what is not; never to be run with as it is."""
    return read_partial_config(config_path(given), SOURCE_KINDS, PSA_KINDS)


def load(given: Path | None) -> tuple[Config, BillingMapping]:
    """Both files, checked; a `ConfigError` has all problems of both. Nothing is sent."""
    return _checked(partial_config(given))


def _checked(read: PartialConfig) -> tuple[Config, BillingMapping]:
    mapping = BillingMapping()
    problems: tuple[str, ...] = ()
    try:
        mapping = load_mapping(read.config.mapping_path, ConfigNames.of(read.config))
    except ConfigError as error:
        if not read.problems:
            raise
        problems = error.problems
    return read.checked(problems), _of_this_part(mapping, read.config)


def _of_this_part(mapping: BillingMapping, config: Config) -> BillingMapping:
    """The mapping with the clients of other parts `elsewhere`.

    A client is of the part that has its PSA and all sources of its tenants. Where no part has them
    all, each that has its PSA says that the client cannot be billed.
    """

    def is_elsewhere(client: Company) -> bool:
        sources = {ref.source for ref in client.tenants}
        return client.psa not in config.psa or any(
            client.psa in part.psa and sources <= part.sources.keys() for part in config.parts
        )

    elsewhere = tuple(filter(is_elsewhere, mapping.companies)) if config.parts else ()
    here = tuple(filterfalse(is_elsewhere, mapping.companies)) if elsewhere else mapping.companies
    return replace(mapping, companies=here, elsewhere=elsewhere)


@contextmanager
def opened(
    given: Path | None,
    dropped: threading.Event | None = None,
    *,
    waits: float = 0.0,
    lasts: float | None = None,
) -> Iterator[Setup]:
    """Loads both files, resolves all secrets and opens what they name; closes it at the end.

    `dropped` ends the reading early once it is set; the run may begin `waits` seconds later, and
    `lasts` so many seconds then (None: `RUN_SECONDS`).
    A `ConfigError` comes before anything is sent.
    """
    read = partial_config(given)
    try:
        config, mapping = _checked(read)
    except ConfigError as error:
        try:
            resolve_all(read.config)
        except ConfigError as more:
            raise ConfigError(
                [*error.problems, *more.problems],
                remedy="Correct what is named above, then run `kisi check`. Nothing was sent.",
            ) from error
        raise
    secrets = resolve_all(config)
    clock = Clock(dropped)
    begins = clock.monotonic() + waits
    lasts = RUN_SECONDS if lasts is None else lasts
    limits = Limits(stop=dropped).lasting(lasts, begins)
    reading = limits.lasting(lasts * READING_SHARE, begins)
    sources: dict[str, UsageSource] = {}
    psas: dict[str, Psa] = {}
    how = {"base": config.path.parent, "clock": clock}
    with ExitStack() as stack:
        for name, one in config.sources.items():
            kind, told = SOURCES[one.kind], secrets["sources", name]
            sources[name] = kind.open(name, one, told, **how, limits=reading)
            stack.callback(sources[name].close)
        for name, one in config.psa.items():
            kind, told = PSAS[one.kind], secrets["psa", name]
            psas[name] = kind.open(name, one, told, **how, limits=limits)
            stack.callback(psas[name].close)
        yield Setup(config, mapping, sources, psas, clock, _digest(config), limits, reading)


def _digest(config: Config) -> str:
    files = (config.path, config.mapping_path)
    content = b"\0".join(file.read_bytes() if file.exists() else b"" for file in files)
    return sha256(content).hexdigest()[:16]


def who() -> str:
    """Who runs kisi, for the journal; in a container, an account without a name is its number."""
    if person := os.environ.get("SUDO_USER"):
        return person
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # before Python 3.13 not yet an OSError alone
        return f"uid {os.getuid()}" if hasattr(os, "getuid") else "?"


class _PrivateFile(RotatingFileHandler):
    """A log that only its owner can read: it names clients and what they use."""

    def _open(self) -> TextIOWrapper:
        flags = os.O_CREAT | os.O_APPEND | os.O_WRONLY
        file = os.fdopen(os.open(self.baseFilename, flags, 0o600), "ab")
        return TextIOWrapper(file, encoding=self.encoding)


@contextmanager
def logged(state_dir: Path) -> Iterator[None]:
    """Writes `kisi.log` for as long as the lock is held; its holder alone may rotate it."""
    path = state_dir / "kisi.log"
    try:
        handler = _PrivateFile(path, maxBytes=_LOG_BYTES, backupCount=_LOG_FILES, encoding="utf-8")
    except OSError as error:
        raise StateError(
            f"The log {path} cannot be written: {error.strerror}. Nothing was read or written.",
            remedy="Make the state folder writable for the account that runs kisi.",
        ) from error
    handler.setFormatter(OneLine(_LOG_FORMAT))
    handler.addFilter(RedactingFilter())
    handler.setLevel(logging.INFO)
    package = logging.getLogger("kisi")
    level = package.level
    package.addHandler(handler)
    package.setLevel(min(logging.getLogger().level, logging.INFO))
    try:
        yield
    finally:
        package.removeHandler(handler)
        package.setLevel(level)
        with suppress(OSError):  # a disk that is full; what was billed does not depend on it
            handler.close()
