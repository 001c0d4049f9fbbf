"""Who else on this machine can change what kisi trusts, or read what it keeps? For `kisi check`."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from kisi.config import Config
from kisi.journal.opening import JOURNAL
from kisi.model import Finding, Level
from kisi.secrets import Scheme, SecretReference

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
