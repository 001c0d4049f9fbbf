"""mapping.toml on the disk: read once, written back only where nobody else has changed it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import stat
import time
from collections.abc import Callable
from pathlib import Path

from kisi.errors import ConfigError, StateError

_ATTEMPTS = 11
_PAUSE = 0.2
"""Eleven attempts with pauses of 0.2 s: two seconds for a virus scanner or an editor to let go."""
_FOLDERS_SYNC = os.name == "posix"


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
                _write(self._target.with_name(f"{self._target.name}.bak"), before, mode, sleep)
            self._unchanged_on_disk()
            _write(self._target, content, mode, sleep)
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


def _write(path: Path, content: bytes, mode: int | None, sleep: Callable[[float], None]) -> None:
    """Puts a complete file in the place of `path`; after an error the old one is there, alone."""
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(new, "xb", opener=_private if mode is not None else None) as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        if mode is not None:
            _keep_rights(new, path, mode)
        _replace(new, path, sleep)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _private(name: str, flags: int) -> int:
    """Opens a new file that nobody else may read until it has the old one's rights."""
    return os.open(name, flags, 0o600)


def _keep_rights(new: Path, old: Path, mode: int) -> None:
    """Gives the new file the permissions and, as far as we may, the owner of the old one."""
    if hasattr(os, "chown") and old.exists():
        owner = old.stat()
        with contextlib.suppress(PermissionError):  # only root gives files away
            os.chown(new, owner.st_uid, owner.st_gid)
    new.chmod(mode)


def _replace(new: Path, path: Path, sleep: Callable[[float], None]) -> None:
    for _ in range(_ATTEMPTS - 1):
        try:
            new.replace(path)
        except PermissionError:
            sleep(_PAUSE)
        else:
            return
    new.replace(path)


def _sync_folder(folder: Path) -> None:
    """Makes the new name itself survive a power cut, where folders can be synced (not Windows)."""
    if not _FOLDERS_SYNC:
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
