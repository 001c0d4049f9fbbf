"""Globs as people write them in mapping.toml and after `--only`, `--company` and the like."""

from __future__ import annotations

import re


class Glob:
    """A pattern for names in which `*` and `?` are wildcards.

    Everything else is literal, also `[`, which key names and client names contain. Case does not
    matter.

    Args:
        text: As it was written.
    """

    __slots__ = ("_pattern", "literal_prefix")

    def __init__(self, text: str) -> None:
        self.literal_prefix = len(re.split(r"[*?]", text, maxsplit=1)[0])
        """How many characters stand before the first wildcard."""
        self._pattern = _compiled(text.casefold())

    def matches(self, name: str) -> bool:
        """Whether the whole of `name` is meant."""
        return self._pattern.fullmatch(name.casefold()) is not None


def _compiled(text: str) -> re.Pattern[str]:
    """A pattern that never goes back: each part between stars is found once."""
    first, *rest = (
        "".join("." if c == "?" else re.escape(c) for c in part) for part in text.split("*")
    )
    middle = "".join(f"(?>.*?{part})" for part in rest[:-1] if part)
    last = f".*{rest[-1]}" if rest else ""
    return re.compile(first + middle + last, re.DOTALL)
