"""The log of the daily run: one line an event, in the state folder, kept small."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path

from kisi.errors import StateError
from kisi.redaction import OneLine, RedactingFilter

_BYTES, _FILES = 2 * 2**20, 5
_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class _PrivateFile(RotatingFileHandler):
    """A log that only its owner can read: it names clients and what they use."""

    def _open(self) -> TextIOWrapper:
        flags = os.O_CREAT | os.O_APPEND | os.O_WRONLY
        file = os.fdopen(os.open(self.baseFilename, flags, 0o600), "ab")
        return TextIOWrapper(file, encoding=self.encoding)


@contextmanager
def logged(state_dir: Path) -> Iterator[None]:
    """Writes `kisi.log` for as long as the lock is held; its holder alone may rotate it.

    Raises:
        StateError: The file cannot be opened.
    """
    path = state_dir / "kisi.log"
    try:
        handler = _PrivateFile(path, maxBytes=_BYTES, backupCount=_FILES, encoding="utf-8")
    except OSError as error:
        raise StateError(
            f"The log {path} cannot be written: {error.strerror}. Nothing was read or written.",
            remedy="Make the state folder writable for the account that runs kisi.",
        ) from error
    handler.setFormatter(OneLine(_FORMAT))
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
