"""A journal that is damaged: set aside, never deleted, and no sync until a person has said so.

What makes this worth stopping for: the damaged journal may hold the intent of a write whose outcome
nobody knows. After the acknowledgement kisi starts with an empty journal, which is safe: lines that
hold the right quantity become its own again without a word, every other one is held for a person.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from kisi.errors import StateError
from kisi.journal.faults import folder_error

JOURNAL = "journal.db"
_COMPANIONS = ("-wal", "-journal", "-shm")
"""Files that belong to a database: https://sqlite.org/tempfiles.html."""
_ASIDE = "journal.corrupt-"
_ACKNOWLEDGED = "journal.acknowledged-"


class Damaged(Exception):
    """The file is a journal no more; the text says why. Ends as a `StateError`."""


def aside(folder: Path) -> tuple[Path, ...]:
    """Damaged journals in `folder` that nobody has acknowledged."""
    return tuple(sorted(folder.glob(f"{_ASIDE}*")))


def orphans(folder: Path) -> bool:
    """Whether the journal itself is gone while unwritten changes of it still lie there."""
    return not (folder / JOURNAL).exists() and any(
        (folder / f"{JOURNAL}{suffix}").exists() for suffix in _COMPANIONS[:2]
    )


def set_aside(folder: Path) -> None:
    """Renames the journal and its companions to `journal.corrupt-<last change, UTC>.db`.

    The companions go first: left behind, a write-ahead log would be replayed into the next journal.

    Raises:
        StateError: A file could not be renamed, for example because another program has it open.
    """
    files = [folder / f"{JOURNAL}{suffix}" for suffix in (*_COMPANIONS, "")]
    files = [file for file in files if file.exists()]
    try:
        changed = max(int(file.stat().st_mtime) for file in files)
        stamp = datetime.fromtimestamp(changed, UTC).strftime("%Y%m%dT%H%M%SZ")
        number = 0
        while any(folder.glob(f"journal.*-{(name := _numbered(stamp, number))}.db*")):
            number += 1  # also past acknowledged ones: nothing that was set aside is overwritten
        for file in files:
            suffix = file.name.removeprefix(JOURNAL)
            file.rename(folder / f"{_ASIDE}{name}.db{suffix}")
    except OSError as error:
        raise folder_error(folder, error) from error


def _numbered(stamp: str, number: int) -> str:
    return f"{stamp}-{number}" if number else stamp


def refusal(folder: Path, why: str = "") -> StateError:
    """The sentence that ends every run until the damage is acknowledged."""
    names = ", ".join(file.name for file in aside(folder))
    happened = f"The journal was damaged ({why})" if why else "The journal was damaged"
    return StateError(
        f"{happened} and is set aside in {folder} as {names}."
        " Nothing is written to any PSA, because a write whose outcome nobody knows may be in it.",
        remedy="Look at the clients' lines in the PSA, then run `kisi check --repair`: kisi starts"
        " with an empty journal, keeps the damaged one, and holds every line that differs.",
    )


def acknowledge(folder: Path) -> tuple[Path, ...]:
    """Lets runs go on: the files set aside are kept under a name that no longer stops them.

    Raises:
        StateError: A file could not be renamed.
    """
    kept = []
    try:
        for file in aside(folder):
            target = folder / file.name.replace(_ASIDE, _ACKNOWLEDGED, 1)
            kept.append(file.rename(target))
    except OSError as error:
        raise folder_error(folder, error) from error
    return tuple(kept)
