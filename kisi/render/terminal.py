"""A report laid out for a terminal: its width, its encoding. Nothing is cut off, only wrapped."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import accumulate

from kisi.redaction import SUBSTITUTE, safe_text
from kisi.render.formatting import COMMAND
from kisi.render.report import Entry, Grid, Report, Section, Span, Tone, remarks

_STYLES = {
    Tone.DIM: "2",
    Tone.STRONG: "1",
    Tone.GOOD: "32",
    Tone.CHANGE: "36",
    Tone.HELD: "33",
    Tone.ORPHANED: "35",
    Tone.BAD: "1;31",
    Tone.COMMAND: "1",
}
"""ECMA-48 graphic renditions: 1 bold, 2 faint, 3x a colour. `PLAIN` has none."""
_NARROW = 40
"""Below this many cells everything is set closer to the edge."""
_LABEL_MIN = 22
"""A label column narrower than this is worse than quantities on their own line."""
_GAP = 2
"""Cells between the columns of a grid."""
_COLUMN_MIN = 12
"""A column of prose is not made narrower than this: the grid is then told row by row."""
_BREAK = re.compile(" (?!- )")
"""Where a line may end. Key names have dashes, and a dash in front of a line is kisi's own mark."""
_TIE = "\0"  # in no safe text: a blank at which no line may end

Line = tuple[Span, ...]
"""Of texts that are safe to show."""


def lay_out(
    report: Report, width: int = 80, encoding: str = "utf-8", *, color: bool = False
) -> str:
    """Sets a report in lines of at most `width` cells; only commands may be longer.

    It is the same text with ANSI colours, for a terminal that understands them, and without.
    """
    setter = _Setter(report, max(width, 10), encoding)
    lines: list[Line] = []
    for section in report.sections:
        if lines:
            lines.append(())
        lines += setter.section(section)
    shown = ""
    for line in lines:
        plain, ends = "".join(span.text for span in line).rstrip(), 0
        for span in line:
            begins, ends = ends, ends + len(span.text)
            text, style = plain[begins:ends], color and _STYLES.get(span.tone)
            shown += f"\x1b[{style}m{text}\x1b[0m" if style and text else text
        shown += "\n"
    return shown


class _Setter:
    def __init__(self, report: Report, width: int, encoding: str) -> None:
        self._encoding = encoding
        self._width = width
        self._indent = 2 if width >= _NARROW else 0
        self._arrow = f" {self._text('→')} "
        items = [item for section in report.sections for item in section.items]
        shown = [
            (one.before, one.after, _in_brackets(one.change), one.state, one.label)
            for one in items
            if isinstance(one, Entry) and one.after
        ]
        columns = zip(*shown, strict=True)
        sizes = [max(cells(self._text(text)) for text in column) for column in columns] or [0] * 5
        self._before, self._after, self._change, state, longest = sizes
        before = self._before + len(self._arrow) if self._before else 0
        taken = before + self._after + 1 + self._change + (state + 1 if state else 0)
        left = width - self._indent - 2 - 2 - taken
        # 0: the quantities stand below the label
        self._label = 0 if left < min(longest, _LABEL_MIN) else min(longest, left)

    def _text(self, text: str) -> str:
        return adapted(text, self._encoding)

    def section(self, section: Section) -> Iterator[Line]:
        title = self._text(section.title)
        facts = self._text(" · ".join(section.facts))
        if cells(title) + 3 + cells(facts) <= self._width:
            yield (Span(title, section.tone), Span("   "), Span(facts, Tone.DIM))
        else:
            yield from self._paragraph(title, section.tone, 0)
            yield from self._paragraph(facts, Tone.DIM, self._indent)
        for item in section.items:
            if isinstance(item, Entry):
                yield from self._entry(item)
            elif isinstance(item, Span):
                yield from self._remark(item, self._indent)
            else:
                yield from self._grid(item)

    def _entry(self, entry: Entry) -> Iterator[Line]:
        margin, tone = Span(" " * self._indent), entry.label_tone
        mark = (margin, Span(self._text(entry.mark), entry.tone), Span(" "))
        beside = bool(entry.after and self._label)
        size = self._label if beside else self._width - self._indent - 2
        label, *more = wrap(self._text(entry.label), size)
        if beside:
            yield (*mark, Span(padded(label, size + 2), tone), *self._quantity(entry))
        else:
            yield (*mark, Span(label, tone))
        for text in more:
            yield (margin, Span("  "), Span(text, tone))
        if entry.after and not beside:
            below = "".join(span.text for span in self._quantity(entry)).split()
            yield from self._paragraph(" ".join(below), entry.tone, self._indent + 2)
        told = remarks(entry.chart.text) if entry.chart else ()
        for remark in (*told, *entry.remarks):
            yield from self._remark(remark, self._indent * 3)

    def _quantity(self, entry: Entry) -> Line:
        before = self._text(entry.before)
        arrow = self._arrow if before else " " * len(self._arrow) if self._before else ""
        change = self._text(_in_brackets(entry.change))
        return (
            Span(padded(before, self._before, right=True)),
            Span(arrow, Tone.DIM),
            Span(padded(self._text(entry.after), self._after)),
            Span(" "),
            Span(padded(change, self._change), entry.tone),
            Span(f" {self._text(entry.state)}", entry.state_tone),
        )

    def _remark(self, remark: Span, indent: int) -> Iterator[Line]:
        if remark.tone is Tone.COMMAND:
            yield (Span(" " * (indent + self._indent)), Span(self._text(remark.text), remark.tone))
        else:
            yield from self._paragraph(self._text(remark.text), remark.tone, indent)

    def _paragraph(self, text: str, tone: Tone, indent: int) -> Iterator[Line]:
        for line in wrap(text, self._width - indent) if text else ():
            yield (Span(" " * indent), Span(line, tone))

    def _grid(self, grid: Grid) -> Iterator[Line]:
        indent = self._indent
        if grid.caption is not None:
            yield from self._paragraph(self._text(grid.caption), Tone.DIM, indent)
            indent *= 2
        headers = tuple(map(self._text, grid.headers))
        rows = (tuple(Span(self._text(x.text), x.tone) for x in cells) for cells in grid.rows)
        safe = replace(grid, headers=headers, rows=tuple(rows))
        for line in grid_lines(safe, self._width - indent):
            yield (Span(" " * indent), *line) if line else ()


def _in_brackets(change: str) -> str:
    return f"({change})" if change else ""


def grid_lines(grid: Grid, width: int) -> Iterator[Line]:
    """Lays out a grid of safe texts in lines of at most `width` cells.

    Prose wraps; where even that is not enough, each row is told as a record.
    """
    widths = _widths(grid, width)
    if widths is None:
        yield from _records(grid, width)
        return
    heads = [tuple(Span(text, Tone.DIM) for text in grid.headers)] if any(grid.headers) else []
    for one in (*heads, *grid.rows):
        wrapped = [wrap(cell.text, size) for cell, size in zip(one, widths, strict=True)]
        for height in range(max(map(len, wrapped))):
            line = []
            for at, (cell, texts, size) in enumerate(zip(one, wrapped, widths, strict=True)):
                text = texts[height] if height < len(texts) else ""
                text = padded(text, size, right=at in grid.right)
                line += [Span(text, cell.tone), Span(" " * _GAP)]
            yield tuple(line[:-1])


def _widths(grid: Grid, width: int) -> list[int] | None:
    """The width of each column; the widest give way first. None if the grid cannot fit.

    A word is broken only where nothing else helps.
    """
    columns = list(
        zip(grid.headers, *([cell.text for cell in one] for one in grid.rows), strict=True)
    )
    widths = [max(map(cells, column)) for column in columns]
    words = [
        max(cells(word) for text in column for word in _BREAK.split(text)) for column in columns
    ]
    for least in ([max(_COLUMN_MIN, word) for word in words], [_COLUMN_MIN] * len(words)):
        while sum(widths) + _GAP * (len(widths) - 1) > width:
            able = [index for index in grid.flexible if widths[index] > least[index]]
            if not able:
                break
            widths[max(able, key=widths.__getitem__)] -= 1
        else:
            return widths
    return None


def _records(grid: Grid, width: int) -> Iterator[Line]:
    for number, one in enumerate(grid.rows):
        told = [
            (f"{header}: {cell.text}" if header else cell.text, cell.tone)
            for header, cell in zip(grid.headers, one, strict=True)
            if cell.text
        ]
        if grid.caption is not None:  # a list: what leads an item stays on its line
            told = [(" ".join(text for text, _ in told), one[-1].tone)]
        elif number:
            yield ()
        for text, tone in told:
            yield from ((Span(line, tone),) for line in wrap(text, width))


# --- texts: what an encoding can carry, measured in cells ------------------------------------


def adapted(text: str, encoding: str) -> str:
    """Safe text as a stream of this encoding will show it: it is laid out at that length."""
    return safe_text(text).encode(encoding, SUBSTITUTE).decode(encoding)


def cells(text: str) -> int:
    """How many terminal cells a text takes: CJK characters two, combining marks none."""
    return len(text) if text.isascii() else sum(map(_cells, text))


def _cells(char: str) -> int:
    if unicodedata.category(char) in {"Mn", "Me"}:
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def wrap(text: str, width: int) -> list[str]:
    """Breaks a text at spaces into lines of at most `width` cells; longer words are broken too.

    A command is never broken: whoever copies it from two lines would run half of it.
    """
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
    """The words; one wider than `width` cells in pieces, each with its combining marks."""
    for word in _BREAK.split(COMMAND.sub(_tied, text)):
        rest = word.replace(_TIE, " ")
        while cells(rest) > width and _TIE not in word:
            used = accumulate(map(_cells, rest))
            end = next(index for index, total in enumerate(used) if total > width)
            yield rest[:end]
            rest = rest[end:]
        yield rest


def _tied(found: re.Match[str]) -> str:
    is_command = found[0].startswith(("kisi ", "`kisi "))
    return found[0].replace(" ", _TIE) if is_command else found[0]


def padded(text: str, width: int, *, right: bool = False) -> str:
    """Fills a text up to `width` cells; `right` puts it at the right edge."""
    gap = " " * (width - cells(text))
    return gap + text if right else text + gap
