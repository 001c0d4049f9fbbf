"""Text for a terminal: what its encoding can carry, measured in cells."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from itertools import accumulate

from kisi.redaction import carries, safe_text

_FALLBACKS = {"→": "->", "…": "...", "·": "-", "✗": "x", "✓": "+"}
"""What stands for kisi's own symbols where an encoding cannot carry them."""
_BREAK = re.compile(" (?!- )")
"""Where a line may end. Key names have dashes, and a dash in front of a line is kisi's own mark."""


def adapted(text: str, encoding: str) -> str:
    """Safe text in which kisi's own symbols have an ASCII stand-in where `encoding` lacks them."""
    for symbol, fallback in _FALLBACKS.items():
        if symbol in text and not carries(encoding, symbol):
            text = text.replace(symbol, fallback)
    return safe_text(text, encoding)


def cells(text: str) -> int:
    """How many terminal cells a text takes: CJK characters two, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(_cells(char) for char in text)


def _cells(char: str) -> int:
    if unicodedata.category(char) in {"Mn", "Me"}:
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _split(text: str, width: int) -> tuple[str, str]:
    """Splits a text wider than `width` cells behind what fits, with its combining marks."""
    used = accumulate(map(_cells, text))
    end = next(index for index, total in enumerate(used) if total > width)
    return text[:end], text[end:]


def wrap(text: str, width: int) -> list[str]:
    """Breaks a text at spaces into lines of at most `width` cells; longer words are broken too."""
    lines: list[str] = []
    line = ""
    for word in _words(text, max(width, 2)):
        if line and cells(line) + 1 + cells(word) > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return [*lines, line]


def _words(text: str, width: int) -> Iterable[str]:
    for word in _BREAK.split(text):
        rest = word
        while cells(rest) > width:
            head, rest = _split(rest, width)
            yield head
        yield rest


def padded(text: str, width: int, *, right: bool = False) -> str:
    """Fills a text up to `width` cells; `right` puts it at the right edge."""
    gap = " " * (width - cells(text))
    return gap + text if right else text + gap
