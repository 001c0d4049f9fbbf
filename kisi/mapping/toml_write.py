"""Puts rows and keys into the text of a TOML file, and takes them out, line by line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tomli_w

from kisi.mapping.toml_text import BYTE_ORDER_MARK, Section

Row = Mapping[str, Any]
"""A row as `tomllib` reads it."""


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


def render(header: str, row: Row, end: str) -> str:
    """A row as text: its keys, then its own arrays of tables."""
    lines = [f"[[{header}]]"]
    tables = []
    for key, value in row.items():
        if isinstance(value, list | tuple) and value and isinstance(value[0], Mapping):
            tables += [render(f"{header}.{key}", table, end) for table in value]
        else:
            lines.append(f"{key} = {render_value(value)}")
    return end.join([*lines, ""]) + "".join(tables)


def render_value(value: object) -> str:
    """A value as TOML; a list on one line."""
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(render_value, value)) + "]"
    return tomli_w.dumps({"key": value}).removeprefix("key = ").rstrip("\n")
