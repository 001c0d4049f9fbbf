"""What became of every submit: no other is sent while one is unproven, or changed something else.

The charges from before a submit are in a file (`kisi.psa.tigerpaw.kept`) that outlives the process.
It is *open* until the charges were read again, by this process or a later one. Then it is removed
or, where anything but our own charge is not as it was, marked as *foreign* in its name. While a
foreign file is there kisi sends nothing: a person deletes it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from kisi.errors import ForeignChange, StateError
from kisi.model import Hold, NotBillable
from kisi.psa.tigerpaw.kept import Kept, KeptFile, find, load, marked, save
from kisi.psa.tigerpaw.snapshot import Snapshot
from kisi.psa.tigerpaw.soap import ChargeValues
from kisi.redaction import remote_text

_log = logging.getLogger(__name__)

_GUARD = "foreign-change"
_REMEDY = (
    "Compare the charges in Tigerpaw with that file and restore them. If nobody edited the "
    "agreement at that moment, the template does not do what it should: set "
    "soap_template_verified = false and compare it with the vendor's SOAP guide. Then delete the "
    "file: until then kisi sends nothing to this Tigerpaw."
)
_NAMED_AT_MOST = 3


class Snapshots:
    """The files of one Tigerpaw.

    Args:
        label: How messages call this PSA.
        name: Its section name, with which the names of its files begin.
        folder: Where they are; made with the first file.
        item_field: The field of a charge that holds the price book `ItemId`.

    Attributes:
        stopped: The foreign change that this process has found; nothing may be sent after it.
    """

    def __init__(self, label: str, name: str, *, folder: Path, item_field: str) -> None:
        self.stopped: ForeignChange | None = None
        self.folder = folder
        self._label = label
        self._name = name
        self._item_field = item_field
        self._unmarked: set[Path] = set()  # foreign, but under the name of an open file

    def keep(self, before: Snapshot, values: ChargeValues) -> Kept:
        """Keep the charges from before a submit, whole or not at all, for their owner's eyes only.

        Raises:
            OSError: They could not be written.
        """
        return save(before, values, self.folder, self._name)

    def remove(self, path: Path) -> None:
        """Remove the file of a submit that is proven, or was never sent."""
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            _log.warning(
                "%s cannot be removed (%s): a later run compares it once more.",
                path,
                error.strerror,
            )

    def open_agreements(self) -> Sequence[str]:
        """The agreements with a submit, of this process or an earlier one, that nobody proved yet.

        Raises:
            StateError: The folder cannot be read.
        """
        return sorted({file.agreement for file in self._files() if not file.foreign})

    def compare(self, after: Snapshot, *, settle: bool) -> None:
        """Prove the open submits of one agreement by the charges that it has now.

        Args:
            after: All its charges, read after the submits.
            settle: Remove what is proven and mark what is foreign. Otherwise no file is touched,
                and what is found holds for this process alone.

        Raises:
            ForeignChange: Anything but our own charge is not as it was, or a file cannot be read.
            StateError: The folder cannot be read.
        """
        for file in self._files():
            if file.foreign or file.agreement != after.agreement:
                continue
            found = self._differs(file, after)
            if found:
                path = self._marked(file.path, settle=settle)
                self.stopped = ForeignChange(
                    f"{self._label}: {found} kisi writes nothing more there. The file with the "
                    f"charges as they were before is {path}.",
                    remedy=_REMEDY,
                )
                raise self.stopped
            if settle:
                self.remove(file.path)

    def _differs(self, file: KeptFile, after: Snapshot) -> str:
        """What else changed since before a submit, in a sentence; empty if nothing did."""
        try:
            kept = load(file, self._item_field)
        except FileNotFoundError:  # another run has proven it by now
            return ""
        except (OSError, ValueError) as error:
            why = remote_text(str(error), 100)
            return (
                f"the file of the submit of {file.taken} on agreement {file.agreement} cannot be "
                f"read ({why}), so whether that changed anything else is not known."
            )
        changes = kept.foreign_changes(after)
        if not changes:
            return ""
        more = f" and {len(changes) - 10} more" if len(changes) > 10 else ""
        return (
            f"with the submit of {file.taken} for item {kept.values.item_id} on agreement "
            f"{file.agreement} something else changed: {'; '.join(changes[:10])}{more}."
        )

    def _marked(self, path: Path, *, settle: bool) -> Path:
        """Mark a file as foreign; one that must or can not be renamed is so for this process."""
        if settle:
            with suppress(OSError):  # it stays open, so a later run compares it again
                return path.replace(marked(path))
        self._unmarked.add(path)
        return path

    def hold(self) -> Hold | None:
        """Why nothing may be sent until a person has looked, or None.

        Raises:
            StateError: The folder cannot be read.
        """
        files = [file for file in self._files() if file.foreign]
        if not files:
            return None
        named = "; ".join(
            f"agreement {file.agreement}, {file.taken}, {file.path}"
            for file in files[:_NAMED_AT_MOST]
        )
        more = f" and {len(files) - _NAMED_AT_MOST} more" if len(files) > _NAMED_AT_MOST else ""
        return Hold(
            _GUARD,
            f"After a submit to {self._label}, charges that are not kisi's had changed, or could "
            f"not be compared ({named}{more}). Until a person has looked, kisi sends nothing "
            "there.",
            _REMEDY,
        )

    def not_billable(self, agreement: str) -> NotBillable | None:
        """Why this agreement must not be billed until a person has looked, or None.

        Raises:
            StateError: The folder cannot be read.
        """
        for file in self._files():
            if file.foreign and file.agreement == agreement:
                return NotBillable(
                    _GUARD,
                    f"After the submit of {file.taken}, charges of agreement {agreement} that are "
                    "not kisi's had changed, or could not be compared. The file with the "
                    f"charges as they were before is {file.path}.",
                    _REMEDY,
                )
        return None

    def _files(self) -> Sequence[KeptFile]:
        """This Tigerpaw's files, the oldest of an agreement first."""
        try:
            files = find(self.folder, self._name)
        except OSError as error:
            raise StateError(
                f"The folder {self.folder} cannot be read ({error.strerror}), so whether an "
                f"earlier submit to {self._label} is proven is not known. Nothing was sent there.",
                remedy="Make it readable for the account that runs kisi.",
            ) from error
        return [
            replace(file, foreign=True) if file.path in self._unmarked else file for file in files
        ]
