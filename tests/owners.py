"""Files of other users, for tests that are not root, and may be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

posix = pytest.mark.skipif(os.name != "posix", reason="Windows guards files by access lists")


def somebody() -> int:
    """A user with an account who is neither root nor runs this."""
    import pwd

    return next(one.pw_uid for one in pwd.getpwall() if one.pw_uid not in {0, os.geteuid()})


def belongs_to(monkeypatch: pytest.MonkeyPatch, path: Path, uid: int) -> None:
    """As if `path` belonged to a user."""
    for name in ("lstat", "stat"):
        real = getattr(Path, name)

        def seen(self: Path, *, real=real, **more: bool) -> os.stat_result:
            status = real(self, **more)
            return os.stat_result((*status[:4], uid, *status[5:])) if self == path else status

        monkeypatch.setattr(Path, name, seen)
