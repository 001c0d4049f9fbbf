"""mapping.toml while it is being changed: no text is saved that would not load.

The file is read once, and written back whole, only where nobody else has changed it.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

from kisi.config.document import MAX_BYTES, decode, encode, parse_document, read_bytes
from kisi.errors import ConfigError, StateError
from kisi.files import atomic_write
from kisi.mapping.changes import MappingEdit, MappingText
from kisi.mapping.file import read_mapping
from kisi.mapping.rules import UNTOUCHED
from kisi.model import BillingMapping


class MappingEditor:
    """A mapping file, what it means, and the one way to save a change of it.

    Args:
        document: The file as it was read.
        sources: The names of the sources in kisi.toml.
        psas: The names of its PSAs.
        global_sources: Those of the sources whose tenant ids are the same in each of them.

    Attributes:
        mapping: What the saved text means.

    Raises:
        ConfigError: The file is wrong as it is: all problems.
    """

    def __init__(
        self,
        document: MappingDocument,
        *,
        sources: Collection[str],
        psas: Collection[str],
        global_sources: Collection[str] = (),
    ) -> None:
        self._document = document
        self._psas = tuple(psas)
        self._read = partial(
            read_mapping, sources=sources, psas=self._psas, global_sources=global_sources
        )
        self.mapping = self._mapping_of(document.text)

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        sources: Collection[str],
        psas: Collection[str],
        global_sources: Collection[str] = (),
    ) -> MappingEditor:
        """Reads `path`; a missing file maps nothing.

        Raises:
            ConfigError: It cannot be read, or is wrong.
        """
        document = MappingDocument.read(path)
        return cls(document, sources=sources, psas=psas, global_sources=global_sources)

    @property
    def path(self) -> Path:
        """The file."""
        return self._document.path

    def edit(self) -> MappingEdit:
        """The rows of the file as it was read or saved last, to be changed."""
        return MappingEdit(self.current)

    @property
    def current(self) -> MappingText:
        """The file as it was read or saved last."""
        return MappingText(self._document.text, self.mapping, self._psas)

    def check(self, text: str) -> BillingMapping:
        """What `text` would mean as the file.

        Raises:
            ConfigError: It would be wrong: all problems, with rows and lines of the new text.
        """
        try:
            return self._mapping_of(text)
        except ConfigError as error:
            raise ConfigError(
                ["The change was not made, because then:", *error.problems],
                remedy=f"{UNTOUCHED} Change what the sentences above name, then do it again.",
            ) from error

    def save(self, text: str) -> bool:
        """Checks `text` and writes it, whole or not at all; the text before is kept as `.bak`.

        Returns:
            Whether anything was written; an unchanged text is not.

        Raises:
            ConfigError: The text would be wrong, or somebody else changed the file meanwhile.
            StateError: The disk is full, or the file is read-only.
        """
        mapping = self.check(text)
        written = self._document.save(text)
        self.mapping = mapping
        return written

    def _mapping_of(self, text: str) -> BillingMapping:
        path = self._document.path
        if len(encode(text)) > MAX_BYTES:
            raise ConfigError(
                f"{path.name}: The file would be larger than {MAX_BYTES // 2**20} MiB, which kisi "
                "does not read."
            )
        return self._read(parse_document(path, text))


class MappingDocument:
    """The text of a mapping file and what is needed to write it back safely.

    Args:
        path: The file as the operator names it; a link is followed and stays a link.
        text: Its text, line ends and byte order mark included.
        digest: Of the bytes that were read; None where there was no file.
    """

    def __init__(self, path: Path, text: str, digest: str | None) -> None:
        self.path = path
        self.text = text
        self._target = Path(os.path.realpath(path))
        self._digest = digest

    @classmethod
    def read(cls, path: Path) -> MappingDocument:
        """Reads `path`; a missing file is an empty text.

        Raises:
            ConfigError: It cannot be read, or is not UTF-8.
        """
        content = read_bytes(Path(os.path.realpath(path)))
        if content is None:
            return cls(path, "", None)
        return cls(path, decode(path, content), _digest(content))

    def save(self, text: str, sleep: Callable[[float], None] = time.sleep) -> bool:
        """Writes `text` to the file, whole or not at all; the text before is kept as `.bak`.

        Args:
            text: All of it. A document may be saved several times.
            sleep: Waits between attempts while another program holds the file (Windows).

        Returns:
            Whether anything was written; an unchanged text is not.

        Raises:
            ConfigError: The file is not the one that was read: someone else changed it.
            StateError: The disk is full, or the file or its folder is read-only. The file is
                untouched.
        """
        content = encode(text)
        if _digest(content) == self._digest or (not content and self._digest is None):
            return False
        before = self._unchanged_on_disk()
        try:
            mode = self._mode()
            if before is not None:
                backup = self._target.with_name(f"{self._target.name}.bak")
                atomic_write(backup, before, mode=mode, sleep=sleep)
            self._unchanged_on_disk()
            atomic_write(self._target, content, mode=mode, sleep=sleep)
        except OSError as error:
            raise StateError(
                f"{self.path} could not be written ({error.strerror or type(error).__name__}). "
                "It is as it was before.",
                remedy="See whether the disk is full, whether the file and its folder may be "
                "written, and whether another program holds it open. Then do it again.",
            ) from error
        self.text, self._digest = text, _digest(content)
        return True

    def _unchanged_on_disk(self) -> bytes | None:
        content = read_bytes(self._target)
        if (None if content is None else _digest(content)) == self._digest:
            return content
        what = "vanished" if content is None else "appeared" if self._digest is None else "changed"
        raise ConfigError(
            f"{self.path} {what} since kisi read it: someone else works on it. "
            "kisi left it alone, and this change was not made.",
            remedy="See what is there now, then do it again.",
        )

    def _mode(self) -> int | None:
        """The file's permissions; a file that nobody may write is not replaced either."""
        if self._digest is None:
            return None
        mode = stat.S_IMODE(self._target.stat().st_mode)
        if not mode & 0o222 or not os.access(self._target, os.W_OK):
            raise PermissionError(None, "it is read-only")
        return mode


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
