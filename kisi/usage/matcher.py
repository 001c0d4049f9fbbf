"""Which application does a key name belong to?"""

from __future__ import annotations

import re
from collections.abc import Iterable

from kisi.model import Application


class Matcher:
    """Finds the application a key name belongs to.

    Globs are case-insensitive, `*` and `?` are wildcards, everything else (also `[`) is literal. Of
    several applications the one with the longest literal prefix wins.

    Args:
        applications: The rows of mapping.toml.
    """

    def __init__(self, applications: Iterable[Application]) -> None:
        self._patterns = tuple(
            (application, _literal_prefix(glob), _compile(glob))
            for application in applications
            for glob in application.globs
        )
        self._known: dict[str, tuple[Application, ...]] = {}

    def match(self, key_name: str) -> Application | None:
        """The application of `key_name`, or None if none matches or several match equally well."""
        found = self.matches(key_name)
        return found[0] if len(found) == 1 else None

    def matches(self, key_name: str) -> tuple[Application, ...]:
        """The best applications: none, one, or several that tie."""
        if key_name not in self._known:
            self._known[key_name] = self._best(key_name)
        return self._known[key_name]

    def _best(self, key_name: str) -> tuple[Application, ...]:
        hits = [
            (prefix, application)
            for application, prefix, pattern in self._patterns
            if pattern.fullmatch(key_name)
        ]
        longest = max((prefix for prefix, _ in hits), default=0)
        best = {application.name: application for prefix, application in hits if prefix == longest}
        return tuple(best.values())


def _literal_prefix(glob: str) -> int:
    return len(re.split(r"[*?]", glob, maxsplit=1)[0])


def _compile(glob: str) -> re.Pattern[str]:
    """The glob as a pattern that never goes back: each part between stars is found once."""
    first, *rest = (
        "".join("." if c == "?" else re.escape(c) for c in part) for part in glob.split("*")
    )
    middle = "".join(f"(?>.*?{part})" for part in rest[:-1] if part)
    last = f".*{rest[-1]}" if rest else ""
    return re.compile(first + middle + last, re.IGNORECASE | re.DOTALL)
