"""The file of one submit: what was submitted, and the charges from before it, to restore from."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from kisi.files import PRIVATE, atomic_write
from kisi.psa.tigerpaw.records import Charge, read_charges
from kisi.psa.tigerpaw.snapshot import Snapshot, foreign_changes, raw
from kisi.psa.tigerpaw.soap import ChargeValues


@dataclass(frozen=True, slots=True)
class Kept:
    """A submit and the charges from before it."""

    path: Path
    before: Snapshot
    values: ChargeValues
    """What was submitted."""

    def ours(self, after: Snapshot) -> Charge | None:
        """Our charge among `after`: by id, or the one new recurring charge of our item."""
        if self.values.detail_id:
            return after.get(self.values.detail_id)
        new = [
            charge
            for charge in after.new_since(self.before)
            if charge.item == self.values.item_id and not charge.one_time
        ]
        exact = [charge for charge in new if charge.quantity == self.values.quantity]
        found = exact or new
        return found[0] if len(found) == 1 else None

    def foreign_changes(self, after: Snapshot) -> tuple[str, ...]:
        """What the submit changed beside our charge, in words."""
        ours = self.ours(after)
        return foreign_changes(self.before, after, ours.id if ours else None)


@dataclass(frozen=True, slots=True)
class KeptFile:
    """What the name of a file says, also where its content cannot be read."""

    path: Path
    agreement: str
    foreign: bool
    """Marked: after the submit something else was not as before."""
    taken: str
    """When, for people."""


def save(before: Snapshot, values: ChargeValues, folder: Path, psa: str) -> Kept:
    """Keep the charges from before a submit, whole or not at all, for their owner's eyes only.

    Raises:
        OSError: They could not be written.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    taken = before.taken.astimezone(UTC)
    path = folder / f"{psa}-{before.agreement}-{taken:%Y%m%dT%H%M%S.%fZ}.json"
    content = {
        "psa": psa,
        "agreement": before.agreement,
        "taken": taken.isoformat(),
        "submitted": asdict(values),
        "charges": raw(before.charges),
    }
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    atomic_write(path, text.encode("utf-8", "surrogatepass"), mode=PRIVATE)
    return Kept(path, before, values)


def find(folder: Path, psa: str) -> tuple[KeptFile, ...]:
    """The files of one PSA, the oldest of an agreement first.

    Raises:
        OSError: The folder is there and cannot be read.
    """
    name = re.compile(rf"{re.escape(psa)}-(\d+)-(\d{{8}}T\d{{6}})\.\d{{6}}Z(\.foreign)?\.json")
    try:
        paths = sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return ()
    found = ((path, name.fullmatch(path.name)) for path in paths)
    return tuple(
        KeptFile(path, parts[1], foreign=bool(parts[3]), taken=_when(parts[2]))
        for path, parts in found
        if parts
    )


def _when(stamp: str) -> str:
    """`20261121T200000` as `2026-11-21 20:00 UTC`."""
    return f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:8]} {stamp[9:11]}:{stamp[11:13]} UTC"


def load(file: KeptFile, item_field: str) -> Kept:
    """What a file holds.

    Args:
        file: One that `find` found.
        item_field: The field of a charge that holds the price book `ItemId`.

    Raises:
        OSError: It cannot be read.
        ValueError: It is not whole, or not what `save` writes.
    """
    content = json.loads(file.path.read_bytes().decode("utf-8", "surrogatepass"))
    try:
        taken, charges = content["taken"], content["charges"]
        values = ChargeValues(**content["submitted"])
        before = Snapshot(
            file.agreement, datetime.fromisoformat(taken), read_charges(charges, item_field)
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"it is not what kisi wrote: {error!r}") from error
    return Kept(file.path, before, values)


def marked(path: Path) -> Path:
    """The name of a file once it is marked as foreign."""
    return path.with_suffix(".foreign.json")
