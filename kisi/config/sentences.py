"""Words that every message about the two files uses: names cut to length, nearest names, types."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, time
from difflib import get_close_matches

_LONGEST = 80
_LISTED = 12
_TYPES: tuple[tuple[type, str], ...] = (
    (bool, "true or false"),
    (int, "a whole number"),
    (float, "a decimal number"),
    (str, "text"),
    (date, "a date or time"),
    (time, "a date or time"),
    (list, "a list"),
    (dict, "a table"),
)


def shorten(text: str) -> str:
    """`text`, cut so that a hostile or broken name cannot fill the screen."""
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def listed(names: Collection[str]) -> str:
    """`names` in quotes, sorted; the first dozen of a long list.

    >>> listed({"hub", "hq"})
    '"hq", "hub"'
    """
    quoted = [f'"{shorten(name)}"' for name in sorted(names)]
    more = len(quoted) - _LISTED
    return ", ".join(quoted[:_LISTED]) + (f" and {more} more" if more > 0 else "")


def nearest(word: str, known: Collection[str]) -> str | None:
    """The name in `known` that `word` most likely means, if one is near enough."""
    by_folded = {name.casefold(): name for name in known}
    near = get_close_matches(word.casefold(), by_folded, n=1, cutoff=0.55)
    return by_folded[near[0]] if near else None


def did_you_mean(word: str, known: Collection[str]) -> str:
    """The end of a sentence about an unknown name: the nearest known one, or all of them.

    >>> did_you_mean("pasword", ["password", "user"])
    'did you mean "password"?'
    >>> did_you_mean("colour", ["password", "user"])
    'use one of "password", "user".'
    """
    if not known:
        return "there are none."
    near = nearest(word, known)
    return f'did you mean "{shorten(near)}"?' if near else f"use one of {listed(known)}."


def type_name(value: object) -> str:
    """What a TOML value is, in words, without the value itself.

    >>> type_name(True)
    'true or false'
    """
    return next((words for kind, words in _TYPES if isinstance(value, kind)), "something else")
