"""The offline part of `kisi check`: everything that can be wrong before a request is sent.

All problems of kisi.toml, of mapping.toml, of the secrets and of the files they name are found
together, also where one of them alone would stop every other command.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kisi.config import Config, Kinds, PartialConfig, Section, read_partial_config
from kisi.errors import ConfigError
from kisi.journal import JOURNAL
from kisi.mapping.file import load_mapping
from kisi.model import BillingMapping, Finding, Level
from kisi.render.formatting import plural
from kisi.secrets import Scheme, SecretReference, Secrets, resolve_all


@dataclass(frozen=True, slots=True)
class FilesCheck:
    """What the offline checks found, and what they read, for the online checks to go on with."""

    findings: tuple[Finding, ...]
    config: Config | None = None
    """None, as the next two, if there was an error in what it is read from."""
    mapping: BillingMapping | None = None
    secrets: Secrets | None = None

    @property
    def passed(self) -> bool:
        """Whether there is no error among the findings."""
        return all(finding.level is not Level.PROBLEM for finding in self.findings)


def check_files(path: Path, source_kinds: Kinds, psa_kinds: Kinds) -> FilesCheck:
    """Reads everything that a run would read, and sends nothing.

    Args:
        path: kisi.toml.
        source_kinds: The settings class of each `kind` of source.
        psa_kinds: The settings class of each `kind` of PSA.
    """
    try:
        partial = read_partial_config(path, source_kinds, psa_kinds)
    except ConfigError as error:
        return FilesCheck(tuple(_errors(error)))
    config = partial.config
    findings = [Finding(Level.PROBLEM, problem) for problem in partial.problems]
    if not partial.problems:
        findings.append(Finding(Level.OK, _summary(config)))
    mapping = _check_mapping(partial, findings)
    secrets = _check_secrets(config, findings)
    findings += check_rights(config)
    for table, sections in (("sources", config.sources), ("psa", config.psa)):
        for name, section in sections.items():
            findings += _missing_files(f"{config.path.name}: [{table}.{name}]", section, config)
    findings += _unusable_state(config.state_dir)
    return FilesCheck(tuple(findings), None if partial.problems else config, mapping, secrets)


def _errors(error: ConfigError) -> Iterator[Finding]:
    for problem in error.problems:
        yield Finding(Level.PROBLEM, problem, error.remedy)


def _summary(config: Config) -> str:
    return (
        f"{config.path} is valid: sources {', '.join(config.sources)}; PSAs "
        f"{', '.join(config.psa)}; billing days are those of {config.timezone}."
    )


def _check_mapping(partial: PartialConfig, findings: list[Finding]) -> BillingMapping | None:
    path = partial.config.mapping_path
    if not os.path.lexists(path):
        findings.append(
            Finding(
                Level.WARNING,
                f"There is no {path} yet, so nothing is billed.",
                "`kisi map list` shows what can be mapped.",
            )
        )
        return BillingMapping()
    try:
        mapping = load_mapping(
            path,
            sources=partial.source_names,
            psas=partial.psa_names,
            global_sources=partial.config.global_sources,
        )
    except ConfigError as error:
        findings += _errors(error)
        return None
    billed = sum(company.billing for company in mapping.companies)
    findings.append(
        Finding(
            Level.OK,
            f"{path} is valid: {plural(len(mapping.applications), 'application')}, "
            f"{plural(len(mapping.companies), 'client')}, {billed} with billing on.",
        )
    )
    return mapping


def _check_secrets(config: Config, findings: list[Finding]) -> Secrets | None:
    try:
        secrets = resolve_all(config)
    except ConfigError as error:
        findings += _errors(error)
        return None
    count = sum(len(fields) for fields in secrets.values())
    findings.append(Finding(Level.OK, f"{plural(count, 'secret')} found."))
    return secrets


def _missing_files(place: str, section: Section, config: Config) -> Iterator[Finding]:
    """The files that a section names by a `Path` and that cannot be read."""
    for key, file in section.files_named(config.base):
        if not (file.is_file() and os.access(file, os.R_OK)):
            yield Finding(
                Level.PROBLEM, f"{place} {key}: There is no file {file} that this user can read."
            )


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
    files = tuple(dict.fromkeys(_files(config)))
    for file in files:
        yield from _writable_by_all(file)
    for folder in dict.fromkeys(_folders(files)):
        if folder != config.state_dir:
            yield from _open_folder(folder)
    yield from _state_open_to_others(config.state_dir)


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
        if reference.scheme is Scheme.FILE:
            try:
                yield base / Path(reference.target).expanduser()
            except RuntimeError:  # without a home folder it is no file, and reported as such
                continue


def _folders(files: Iterable[Path]) -> Iterator[Path]:
    """The folder of each file, and that of the file which a link leads to."""
    for file in files:
        yield file.parent
        yield Path(os.path.realpath(file)).parent


def _mode(path: Path) -> int:
    """The permissions; 0 where there is nothing that this user can look at."""
    try:
        return path.stat().st_mode
    except OSError:
        return 0


def _writable_by_all(path: Path) -> Iterator[Finding]:
    if _mode(path) & stat.S_IWOTH:
        yield Finding(
            Level.WARNING,
            f"Every user of this machine can change {path}.",
            f"Run `chmod o-w {shlex.quote(str(path))}`.",
        )


def _open_folder(folder: Path) -> Iterator[Finding]:
    """In a folder with the sticky bit, as `/tmp`, nobody can replace the files of another."""
    mode = _mode(folder)
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        yield Finding(
            Level.WARNING,
            f"Every user of this machine can replace the files in {folder}.",
            f"Run `chmod o-w {shlex.quote(str(folder))}`.",
        )


def _state_open_to_others(folder: Path) -> Iterator[Finding]:
    mode = stat.S_IMODE(_mode(folder))
    if folder.is_dir() and mode & 0o077:
        yield Finding(
            Level.WARNING,
            f"Other users of this machine have access to the state folder {folder} (mode "
            f"{mode:04o}), where clients and devices are named.",
            f"Run `chmod 700 {shlex.quote(str(folder))}`.",
        )
