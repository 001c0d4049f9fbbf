"""Which application does a key name belong to?"""

from __future__ import annotations

from collections.abc import Iterable

from kisi.model import Application, Glob


class Matcher:
    """Finds the application a key name belongs to.

    Of several applications the one with the longest literal prefix wins.

    Args:
        applications: The rows of mapping.toml.
    """

    def __init__(self, applications: Iterable[Application]) -> None:
        self._globs = tuple(
            (application, Glob(text)) for application in applications for text in application.globs
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
            (glob.literal_prefix, application)
            for application, glob in self._globs
            if glob.matches(key_name)
        ]
        longest = max((prefix for prefix, _ in hits), default=0)
        best = {application.name: application for prefix, application in hits if prefix == longest}
        return tuple(best.values())
