"""Finds a company or a product by any part of its name, as a person types it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

from kisi.mapping.names import fold

Key = TypeVar("Key")


def search(wanted: str, names: Mapping[Key, tuple[str, str]]) -> list[Key]:
    """What has every typed part in its name, or is named by its id, likeliest first.

    Case, diacritics and punctuation do not matter: `muller` finds `Müller & Söhne`.

    Args:
        wanted: What was typed.
        names: Key to name and id.
    """
    parts = _plain(wanted).split()
    if not parts:
        return []
    ranked = []
    for key, (name, ident) in names.items():
        plain = _plain(name)
        joined = plain.replace(" ", "")
        if ident.casefold() == wanted.strip().casefold():
            ranked.append((0, name, key))
        elif all(part in plain or part in joined for part in parts):
            ranked.append((_rank(parts, plain), name, key))
    ranked.sort(key=lambda found: (found[0], found[1].casefold()))
    return [key for _, _, key in ranked]


def _rank(parts: list[str], plain: str) -> int:
    """Names that begin with what was typed first, then words that do, then any part."""
    if plain.startswith(parts[0]):
        return 1
    return 2 if any(word.startswith(parts[0]) for word in plain.split()) else 3


def _plain(text: str) -> str:
    return " ".join(re.findall(r"[^\W_]+", fold(text))) or text.casefold().strip()
