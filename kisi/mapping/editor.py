"""mapping.toml while it is being changed: no text is saved that would not load."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from kisi.config.document import MAX_BYTES, parse_document
from kisi.errors import ConfigError
from kisi.mapping.change import Draft
from kisi.mapping.document import MappingDocument
from kisi.mapping.file import read_mapping
from kisi.mapping.toml_text import BYTE_ORDER_MARK
from kisi.model import BillingMapping

_UNTOUCHED = "mapping.toml was left as it is."


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
        self._sources = tuple(sources)
        self._global_sources = frozenset(global_sources)
        self._psas = tuple(psas)
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

    @property
    def draft(self) -> Draft:
        """The file as it was read or saved last."""
        return Draft(self._document.text, self.mapping, self._psas)

    def check(self, text: str) -> Draft:
        """`text` with what it would mean as the file.

        Raises:
            ConfigError: It would be wrong: all problems, with rows and lines of the new text.
        """
        try:
            return Draft(text, self._mapping_of(text), self._psas)
        except ConfigError as error:
            raise ConfigError(
                ["The change was not made, because then:", *error.problems],
                remedy=f"{_UNTOUCHED} Change what the sentences above name, then do it again.",
            ) from error

    def save(self, text: str) -> bool:
        """Checks `text` and writes it, whole or not at all; the text before is kept as `.bak`.

        Returns:
            Whether anything was written; an unchanged text is not.

        Raises:
            ConfigError: The text would be wrong, or somebody else changed the file meanwhile.
            StateError: The disk is full, or the file is read-only.
        """
        mapping = self.check(text).mapping
        before, self._document.text = self._document.text, text
        try:
            written = self._document.save()
        except BaseException:
            self._document.text = before
            raise
        self.mapping = mapping
        return written

    def _mapping_of(self, text: str) -> BillingMapping:
        path = self._document.path
        if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
            raise ConfigError(
                f"{path.name}: The file would be larger than {MAX_BYTES // 2**20} MiB, which kisi "
                "does not read."
            )
        document = parse_document(path, text.removeprefix(BYTE_ORDER_MARK))
        return read_mapping(
            document,
            sources=self._sources,
            psas=self._psas,
            global_sources=self._global_sources,
        )
