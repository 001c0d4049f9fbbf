"""The text of a TOML file: where headers, keys, values and comments stand; lines put in and out.

`tomllib` says what a file means, not where. This scanner says where, in a text that `tomllib` has
already accepted, and leaves meaning alone (https://toml.io/en/v1.0.0).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

BYTE_ORDER_MARK = "\ufeff"

_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?""""{0,2}'
    r"|'''.*?''''{0,2}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_BLANK = re.compile(r"[ \t]*")
_BETWEEN = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SCALAR = re.compile(r"[^#\r\n]*[^#\s]")
_REST_OF_LINE = re.compile(r"[^\n]*\n?")


@dataclass(frozen=True, slots=True)
class Entry:
    """A `key = value`. Positions count characters of the text; ends are exclusive."""

    key: tuple[str, ...]
    """Its parts: a dotted key has several."""
    start: int
    """The beginning of its line."""
    end: int
    """Behind its last line's end (or at the end of the text)."""
    value_start: int
    value_end: int


@dataclass(slots=True)
class Section:
    """A header and the keys up to the next one. The part before the first header has no path."""

    path: tuple[str, ...]
    array: bool
    """Whether it is an element of an array of tables: `[[path]]`."""
    start: int
    header_end: int
    entries: list[Entry] = field(default_factory=list)

    @property
    def end(self) -> int:
        """Behind its last key; comments and blank lines after it are nobody's."""
        return self.entries[-1].end if self.entries else self.header_end

    def entry(self, key: str) -> Entry | None:
        """The entry of a plain key, however it is quoted."""
        return next((entry for entry in self.entries if entry.key == (key,)), None)


def scan(text: str) -> list[Section]:
    """All sections of a text that `tomllib` accepts, in its order; the first one has no header."""
    position = len(BYTE_ORDER_MARK) if text.startswith(BYTE_ORDER_MARK) else 0
    sections = [Section((), array=False, start=position, header_end=position)]
    while (position := _skip(_BETWEEN, text, position)) < len(text):
        start = max(text.rfind("\n", 0, position) + 1, sections[0].start)
        if text[position] == "[":
            array = text.startswith("[[", position)
            path, after = _key(text, position + 1 + array)
            end = _skip(_REST_OF_LINE, text, after)
            sections.append(Section(path, array, start, end))
        else:
            key, after = _key(text, position)
            value_start = _skip(_BLANK, text, after + 1)
            value_end = _value_end(text, value_start)
            end = _skip(_REST_OF_LINE, text, value_end)
            sections[-1].entries.append(Entry(key, start, end, value_start, value_end))
        position = end
    return sections


def has_comment(value: str) -> bool:
    """Whether the text of a value, a list for example, holds a comment."""
    return "#" in _STRING.sub('""', value)


def _skip(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position


def _key(text: str, position: int) -> tuple[tuple[str, ...], int]:
    """The parts of a dotted key, and where it ends: at its `=` or `]`."""
    parts = []
    while True:
        position = _skip(_BLANK, text, position)
        quoted = _STRING.match(text, position)
        end = quoted.end() if quoted else _skip(_BARE, text, position)
        raw = text[position:end]
        parts.append(tomllib.loads(f"key = {raw}")["key"] if quoted else raw)
        position = _skip(_BLANK, text, end)
        if not text.startswith(".", position):
            return tuple(parts), position
        position += 1


def _value_end(text: str, position: int) -> int:
    if text[position] in "[{":
        *_, last = _closing(text, position)
        return last
    return _skip(_STRING if text[position] in "\"'" else _SCALAR, text, position)


def _closing(text: str, position: int) -> Iterator[int]:
    """Walks over a list or inline table; the last position is behind its closing bracket."""
    depth = 0
    while True:
        position = _skip(_BETWEEN, text, position)
        letter = text[position]
        if letter in "\"'":
            position = _skip(_STRING, text, position)
        else:
            depth += (letter in "[{") - (letter in "]}")
            position += 1
        yield position
        if not depth:
            return


# --- changing lines -----------------------------------------------------------------------------


def line_end(text: str) -> str:
    """What the file ends its lines with, judged by the first one."""
    first = text.find("\n")
    return "\r\n" if first > 0 and text[first - 1] == "\r" else "\n"


def insert(text: str, at: int, block: str) -> str:
    """`text` with a block at a line's beginning, a blank line before it."""
    before, after, end = text[:at], text[at:], line_end(text)
    if not before.removeprefix(BYTE_ORDER_MARK):
        return before + block + after
    if not before.endswith("\n"):
        return before + end + end + block.removesuffix(end) + after
    gap = "" if before.endswith((end + end, BYTE_ORDER_MARK + end)) else end
    return before + gap + block + after


def insert_key(text: str, section: Section, line: str) -> str:
    """`text` with a line behind the section's last key, indented like it."""
    end = line_end(text)
    before, after = text[: section.end], text[section.end :]
    above = text[section.entries[-1].start if section.entries else section.start :]
    indent = above[: len(above) - len(above.lstrip(" \t"))]
    if not before.endswith("\n"):
        return before + end + indent + line + after
    return before + indent + line + end + after


def cut(text: str, sections: Sequence[Section]) -> str:
    """`text` without these sections, and without the blank line that would be one too many."""
    for section in sorted(sections, key=lambda section: section.start, reverse=True):
        before, after = text[: section.start], text[section.end :]
        end = line_end(text)
        if before.endswith(end + end) and (not after or after.startswith(end)):
            before = before.removesuffix(end)
        text = before + after
    return text
