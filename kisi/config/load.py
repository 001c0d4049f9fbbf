"""Turns `kisi.toml` into a `Config`, with all problems of the whole file at once."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path
from typing import Any

from platformdirs import user_state_path

from kisi.config.document import read_document
from kisi.config.sentences import (
    Model,
    check_table,
    did_you_mean,
    listed,
    place,
    read_table,
    shorten,
)
from kisi.config.settings import Section
from kisi.config.tables import Counting, Guards, Notify, Top, billing_zone
from kisi.errors import ConfigError
from kisi.model import CountingRules, GuardRules

Kinds = Mapping[str, type[Section]]
"""`kind` to the settings class of the source or PSA that it names."""

_TABLES = ("sources", "psa", "counting", "guards", "notify")
_SECTION_NAME = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Config:
    """All of kisi.toml, validated. Paths are absolute, secrets still references."""

    path: Path
    """kisi.toml itself."""
    mapping_path: Path
    state_dir: Path
    """The folder of journal, lock and logs; it may not exist yet."""
    timezone: tzinfo
    """The billing time zone: it decides what day today is."""
    evidence_days: int
    sources: Mapping[str, Section]
    """Section name to settings, in the file's order."""
    psa: Mapping[str, Section]
    global_sources: frozenset[str]
    """Sources whose tenant ids are the same in each of them, also those that are wrong here."""
    counting: CountingRules
    guards: GuardRules
    notify: Notify

    @property
    def base(self) -> Path:
        """The folder of kisi.toml, from which relative paths start."""
        return self.path.parent


@dataclass(frozen=True, slots=True)
class PartialConfig:
    """What can be used of a kisi.toml that may be wrong in places, for `kisi check`."""

    config: Config
    """Wrong keys have their defaults, wrong sections are left out: never to be run with."""
    problems: tuple[str, ...]
    source_names: tuple[str, ...]
    """Also of sections that are wrong, so that the mapping can be checked against them."""
    psa_names: tuple[str, ...]

    def checked(self, more: Sequence[str] = ()) -> Config:
        """The whole of kisi.toml, if nothing is wrong with it and `more` names no problem either.

        Raises:
            ConfigError: All problems, each as `kisi.toml: [sources.hq] url: Sentence.`
        """
        if problems := (*self.problems, *more):
            raise ConfigError(
                problems,
                remedy=f"Correct {self.config.path}, then run `kisi check`. Nothing was sent.",
            )
        return self.config


def read_partial_config(path: Path, source_kinds: Kinds, psa_kinds: Kinds) -> PartialConfig:
    """Reads as much of `kisi.toml` as is right, and collects what is not.

    Args:
        path: The file.
        source_kinds: The settings class of each `kind` of source.
        psa_kinds: The settings class of each `kind` of PSA.

    Raises:
        ConfigError: The file cannot be read, or is not TOML: nothing of it can be used.
    """
    path = path.expanduser().absolute()
    data = read_document(path, if_missing="`kisi init` writes a kisi.toml to start from.").data
    reader = _Reader(path.parent)
    top = reader.table(Top, {k: {} if isinstance(v, dict) else v for k, v in data.items()}, ())
    tables = {key: each if isinstance(each := data.get(key), dict) else {} for key in _TABLES}
    counting = reader.table(Counting, tables["counting"], ("counting",))
    guards = reader.table(Guards, tables["guards"], ("guards",))
    notify = reader.table(Notify, tables["notify"], ("notify",))
    mapping = reader.mapping(top.mapping)
    sources = reader.sections("sources", tables["sources"], source_kinds)
    psa = reader.sections("psa", tables["psa"], psa_kinds)
    config = Config(
        path=path,
        mapping_path=mapping,
        state_dir=top.state_dir or user_state_path("kisi", appauthor=False),
        timezone=billing_zone(top.timezone),
        evidence_days=top.evidence_days,
        sources=sources,
        psa=psa,
        global_sources=frozenset(_global(tables["sources"], source_kinds)),
        counting=CountingRules(**counting.model_dump()),
        guards=GuardRules(**guards.model_dump()),
        notify=notify,
    )
    problems = tuple(f"{path.name}: {problem}" for problem in reader.problems)
    return PartialConfig(config, problems, tuple(tables["sources"]), tuple(tables["psa"]))


def _global(sections: Mapping[str, Any], kinds: Kinds) -> Iterator[str]:
    """The sections of a kind whose tenant ids are global, whatever else is wrong with them."""
    for name, settings in sections.items():
        kind = settings.get("kind") if isinstance(settings, dict) else None
        if isinstance(kind, str) and kind in kinds and kinds[kind].global_tenant_ids:
            yield name


class _Reader:
    """Reads table after table and keeps the problems."""

    def __init__(self, base: Path) -> None:
        self.problems: list[str] = []
        self._base = base

    def table(self, model: type[Model], data: Mapping[str, Any], name: tuple[str, ...]) -> Model:
        """`data` as a `model`; keys that are wrong are reported and have their defaults."""
        checked, problems = read_table(model, data, name, self._base)
        self.problems += problems
        return checked

    def mapping(self, path: Path | None) -> Path:
        """The mapping file; a folder is reported, and the default taken."""
        if path and os.path.isdir(path):  # noqa: PTH112  `is_dir` may raise where nothing is read
            self.problems.append(f"mapping: {path} is a folder; name the file in it.")
            path = None
        return path or self._base / "mapping.toml"

    def sections(self, table: str, data: Mapping[str, Any], kinds: Kinds) -> dict[str, Section]:
        """The sections of `[sources]` or `[psa]` that are right, by name."""
        if not data:
            self.problems.append(
                f"[{table}.NAME]: There is none; kisi needs one at least, with a kind of "
                f"{listed(kinds)}."
            )
        sections = {}
        for name, settings in data.items():
            section = self._section((table, name), settings, kinds)
            if section is not None:
                sections[name] = section
        return sections

    def _section(self, name: tuple[str, str], settings: object, kinds: Kinds) -> Section | None:
        if not isinstance(settings, dict):
            self.problems.append(
                f"{place(name[:1], name[1])}: Each of these needs a name of its own: "
                f"write [{name[0]}.NAME] above its keys."
            )
            return None
        if not _SECTION_NAME.fullmatch(name[1]):
            self.problems.append(
                f"{place(name)}: The name may hold letters from A to Z, digits, - and _ only."
            )
        kind = settings.get("kind")
        if not isinstance(kind, str):
            problem = "This key is missing" if kind is None else "This must be text in quotes"
            self.problems.append(f"{place(name, 'kind')}: {problem}; use one of {listed(kinds)}.")
            return None
        if kind not in kinds:
            self.problems.append(
                f'{place(name, "kind")}: Unknown kind "{shorten(kind)}"; '
                f"{did_you_mean(kind, kinds)}"
            )
            return None
        section, problems = check_table(kinds[kind], settings, name, self._base)
        self.problems += problems
        return section
