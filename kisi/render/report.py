"""What a person reads, before it has a medium: sections of entries, remarks and grids.

Texts are raw here, also those of remote systems; a medium escapes them, and replaces symbols.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum


class Tone(StrEnum):
    """What a text means for the reader; a colour on a terminal, a class on a page."""

    PLAIN = "plain"
    DIM = "dim"
    STRONG = "strong"
    GOOD = "good"
    CHANGE = "change"
    HELD = "held"
    ORPHANED = "orphaned"
    BAD = "bad"
    COMMAND = "command"
    """A command to copy: on its own line, and never broken."""


@dataclass(frozen=True, slots=True)
class Span:
    """A text with a meaning: a sentence, a command, a grid's cell, a part of a terminal's line."""

    text: str
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True, slots=True)
class Chart:
    """A quantity over time: drawn on a page, and elsewhere told by its text."""

    points: tuple[tuple[date, Decimal | None], ...]
    """From each of these days on it is so much, oldest first; None: not known. The last one is the
    end."""
    text: str = ""
    """What it shows, where that is worth telling."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing with a mark: a billing line, a failure. Quantities are aligned in the report."""

    mark: str
    """One character: what happens to it."""
    tone: Tone
    label: str
    before: str = ""
    """Empty where there is only one quantity."""
    after: str = ""
    """Empty where there is no quantity."""
    change: str = ""
    """What stands in brackets: `+2, +9.00 a month`."""
    state: str = ""
    remarks: tuple[Span, ...] = ()
    chart: Chart | None = None

    @property
    def state_tone(self) -> Tone:
        """Good, unless the entry itself is not."""
        return self.tone if self.tone in {Tone.BAD, Tone.HELD} else Tone.GOOD

    @property
    def label_tone(self) -> Tone:
        """Plain, unless it is bad news."""
        return self.tone if self.tone is Tone.BAD else Tone.PLAIN


@dataclass(frozen=True, slots=True)
class Grid:
    """A table."""

    headers: tuple[str, ...]
    rows: tuple[tuple[Span, ...], ...]
    right: Collection[int] = ()
    """Columns of numbers."""
    flexible: Collection[int] = ()
    """Columns of prose, which may wrap."""
    caption: str | None = None
    """A line above; a grid that has one, even an empty one, is set in."""


Item = Entry | Span | Grid


@dataclass(frozen=True, slots=True)
class Section:
    """A headed part: a client, the totals."""

    title: str
    facts: tuple[str, ...] = ()
    items: tuple[Item, ...] = ()
    tone: Tone = Tone.STRONG
    row: tuple[Span, ...] = ()
    """Of a client on a page: its row in the index, behind its name."""


@dataclass(frozen=True, slots=True)
class Report:
    """Everything an operator reads of one command; nothing at all on a quiet day."""

    title: str
    sections: tuple[Section, ...]
    facts: tuple[str, ...] = ()
    """When and by what it was made; for media that outlive the moment."""
    summary: str = ""
    index: tuple[str, ...] = ()
    """On a page: what the columns of the index are called, behind the first one."""
    totals: tuple[str, ...] = ()
    """The last row of the index."""


def row(*texts: str | Span) -> tuple[Span, ...]:
    """A grid's row from texts and cells."""
    return tuple(text if isinstance(text, Span) else Span(text) for text in texts)


def table(
    columns: str, rows: Iterable[Sequence[str | Span]], caption: str | None = None
) -> tuple[Item, ...]:
    """A grid of rows, if there is one: `name~ | in use#` has a column of prose and one of numbers.

    What a row has beyond its columns is left out.
    """
    heads = [head.strip() for head in columns.split("|")]
    kinds = {kind: [n for n, head in enumerate(heads) if head.endswith(kind)] for kind in "#~"}
    cells = tuple(row(*one[: len(heads)]) for one in rows)
    headers = tuple(head.rstrip("#~") for head in heads)
    return (Grid(headers, cells, kinds["#"], kinds["~"], caption),) if cells else ()


def remarks(*texts: str, tone: Tone = Tone.DIM) -> tuple[Span, ...]:
    """Remarks of the texts that say something."""
    return tuple(Span(text, tone) for text in texts if text)


def listing(
    caption: str, rows: Sequence[tuple[str, str]], tone: Tone = Tone.PLAIN
) -> tuple[Item, ...]:
    """A short list under a caption, each item behind its lead, if it has one; none of no rows."""
    if not any(lead for lead, _ in rows):
        return table("~", ([Span(text, tone)] for _, text in rows), caption)
    return table("#|~", ((lead, Span(text, tone)) for lead, text in rows), caption)
