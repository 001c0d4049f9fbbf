"""The offline part of `kisi check`: everything that can be wrong before a request is sent.

All problems of kisi.toml, of mapping.toml, of the secrets and of the files they name are found
together, also where one of them alone would stop every other command.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from kisi.config import Config, Kinds, PartialConfig, Section, read_partial_config, resolve_all
from kisi.errors import ConfigError
from kisi.journal import JOURNAL
from kisi.mapping.file import ConfigNames, load_mapping
from kisi.model import Finding, Level
from kisi.render.formatting import plural
from kisi.secrets import SecretReference


def check_files(path: Path, source_kinds: Kinds, psa_kinds: Kinds) -> tuple[Finding, ...]:
    """Reads everything that a run would read, from kisi.toml on, and sends nothing.

    `source_kinds` and `psa_kinds` have the settings class of each `kind`.
    """
    try:
        partial = read_partial_config(path, source_kinds, psa_kinds)
    except ConfigError as error:
        return tuple(_errors(error))
    config = partial.config
    valid = (
        f"{config.path} is valid: sources {', '.join(config.sources)}; PSAs "
        f"{', '.join(config.psa)}; billing days are those of {config.timezone}."
    )
    findings = [Finding(Level.PROBLEM, problem) for problem in partial.problems]
    findings = findings or [Finding(Level.OK, valid)]
    findings += (*_check_mapping(partial), *_check_secrets(config), *check_rights(config))
    for table, sections in (("sources", config.sources), ("psa", config.psa)):
        for name, section in sections.items():
            findings += _missing_files(f"{config.path.name}: [{table}.{name}]", section, config)
    findings += _unusable_state(config.state_dir)
    return tuple(findings)


def _errors(error: ConfigError) -> Iterator[Finding]:
    for problem in error.problems:
        yield Finding(Level.PROBLEM, problem, error.remedy)


def _check_mapping(partial: PartialConfig) -> Iterator[Finding]:
    path = partial.config.mapping_path
    if not os.path.lexists(path):
        missing = f"There is no {path} yet, so nothing is billed."
        yield Finding(Level.WARNING, missing, "`kisi map list` shows what can be mapped.")
        return
    try:
        names = ConfigNames(partial.source_names, partial.psa_names, partial.config.global_sources)
        mapping = load_mapping(path, names)
    except ConfigError as error:
        yield from _errors(error)
        return
    billed = sum(company.billing for company in mapping.companies)
    valid = (
        f"{path} is valid: {plural(len(mapping.applications), 'application')}, "
        f"{plural(len(mapping.companies), 'client')}, {billed} with billing on."
    )
    yield Finding(Level.OK, valid)


def _check_secrets(config: Config) -> Iterator[Finding]:
    try:
        count = sum(map(len, resolve_all(config).values()))
        yield Finding(Level.OK, f"{plural(count, 'secret')} found.")
    except ConfigError as error:
        yield from _errors(error)


def _missing_files(place: str, section: Section, config: Config) -> Iterator[Finding]:
    """The files that a section names by a `Path` and that cannot be read."""
    for key, file in section.files_named(config.base):
        if not (file.is_file() and os.access(file, os.R_OK)):
            missing = f"{place} {key}: There is no file {file} that this user can read."
            yield Finding(Level.PROBLEM, missing)


def _unusable_state(folder: Path) -> Iterator[Finding]:
    """The state folder is made by the first `sync`, if its nearest parent allows that."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if not there.is_dir():
        yield Finding(Level.PROBLEM, f"state_dir: {there} is a file, so it can hold no journal.")
    elif not os.access(there, os.W_OK | os.X_OK):
        yield Finding(
            Level.PROBLEM,
            f"state_dir: This user cannot write to {there}, so `kisi sync` would end with exit 8.",
            "Run kisi as the user that owns it, or set state_dir to another folder.",
        )


# --- who else can change or read them -------------------------------------------------------------

_HAS_MODES = os.name == "posix"


def check_rights(config: Config) -> Iterator[Finding]:
    """A warning for each file or folder of the configuration that is open to other users.

    A stranger who can change kisi.toml can have the passwords sent to a server of his own; one who
    can change a certificate, a report or a template decides whom kisi believes and what it bills;
    one who can change the folder of such a file can put another in its place. One who can change
    the state folder can make kisi forget, or believe what never was.
    """
    if not _HAS_MODES:
        return
    files, state = tuple(dict.fromkeys(_files(config))), config.state_dir
    for file in files:
        if _mode(file) & stat.S_IWOTH:
            yield _open(f"Every user of this machine can change {file}.", "o-w", file)
    behind_links = [(file, Path(os.path.realpath(file))) for file in files]
    for folder in dict.fromkeys(path.parent for pair in behind_links for path in pair):
        open_to_all = _mode(folder) & (stat.S_IWOTH | stat.S_ISVTX) == stat.S_IWOTH
        if open_to_all and folder != state:  # with the sticky bit, as `/tmp`, it is safe
            what = f"Every user of this machine can replace the files in {folder}."
            yield _open(what, "o-w", folder)
    mode = stat.S_IMODE(_mode(state))
    if state.is_dir() and mode & 0o077:
        what = (
            f"Other users of this machine have access to the state folder {state} (mode "
            f"{mode:04o}), where clients and devices are named."
        )
        yield _open(what, "700", state)


def _open(what: str, mode: str, path: Path) -> Finding:
    return Finding(Level.WARNING, what, f"Run `chmod {mode} {shlex.quote(str(path))}`.")


def _files(config: Config) -> Iterator[Path]:
    """Every file that a run reads, whether it is there or not."""
    yield config.path
    yield config.mapping_path
    yield config.state_dir / JOURNAL
    for name, section in (*config.sources.items(), *config.psa.items()):
        yield from section.files_read(config.base)
        yield from _secret_files(section.secrets(name).values(), config.base)
    yield from _secret_files(config.notify.secrets("").values(), config.base)


def _secret_files(references: Iterable[str], base: Path) -> Iterator[Path]:
    for reference in map(SecretReference.parse, references):
        if reference.scheme == "file":
            try:
                yield base / Path(reference.target).expanduser()
            except RuntimeError:  # without a home folder it is no file, and reported as such
                continue


def _mode(path: Path) -> int:
    """The permissions; 0 where there is nothing that this user can look at."""
    try:
        return path.stat().st_mode
    except OSError:
        return 0
