"""mapping.toml on the disk: read once, written back only where nobody else has changed it."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

from kisi.errors import ConfigError, StateError
from kisi.whole_file import put_whole


class MappingDocument:
    """The text of a mapping file and what is needed to write it back safely.

    Edit `text` (see `kisi.mapping.edit`), then `save`. A document may be saved several times.

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
        content = _content(Path(os.path.realpath(path)))
        if content is None:
            return cls(path, "", None)
        try:
            return cls(path, content.decode("utf-8"), _digest(content))
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            raise ConfigError(
                f"{path}, line {line}: the file is not UTF-8 here. It was left as it is.",
                remedy="Save it as UTF-8 in your editor.",
            ) from error

    def save(self, sleep: Callable[[float], None] = time.sleep) -> bool:
        """Writes `text` to the file, whole or not at all; the text before is kept as `.bak`.

        Args:
            sleep: Waits between attempts while another program holds the file (Windows).

        Returns:
            Whether anything was written; an unchanged text is not.

        Raises:
            ConfigError: The file is not the one that was read: someone else changed it.
            StateError: The disk is full, or the file or its folder is read-only. The file is
                untouched.
        """
        content = self.text.encode("utf-8")
        if _digest(content) == self._digest or (not content and self._digest is None):
            return False
        before = self._unchanged_on_disk()
        try:
            mode = self._mode()
            if before is not None:
                backup = self._target.with_name(f"{self._target.name}.bak")
                put_whole(backup, before, mode=mode, sleep=sleep)
            self._unchanged_on_disk()
            put_whole(self._target, content, mode=mode, sleep=sleep)
        except OSError as error:
            raise StateError(
                f"{self.path} could not be written ({error.strerror or type(error).__name__}). "
                "It is as it was before.",
                remedy="See whether the disk is full, whether the file and its folder may be "
                "written, and whether another program holds it open. Then do it again.",
            ) from error
        self._digest = _digest(content)
        return True

    def _unchanged_on_disk(self) -> bytes | None:
        content = _content(self._target)
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


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read ({error.strerror or type(error).__name__}). "
            "It was left as it is.",
            remedy="Let the account that runs kisi read it.",
        ) from error
