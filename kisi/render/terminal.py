"""A report laid out for a terminal: its width, its encoding. Nothing is cut off, only wrapped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from kisi.render.grid import grid_lines
from kisi.render.page import Line, Page, Span
from kisi.render.report import (
    Cell,
    Entry,
    Figures,
    Grid,
    Item,
    Listing,
    Remark,
    Report,
    Section,
    Tone,
)
from kisi.render.text import adapted, cells, padded, wrap

_NARROW = 40
"""Below this many cells everything is set closer to the edge."""
_LABEL_MIN = 22
"""A label column narrower than this is worse than figures on their own line."""


@dataclass(frozen=True, slots=True)
class Terminal:
    """Where a report is shown."""

    width: int = 80
    """In cells; `kisi.cli.report` says how wide a file or a pipe is."""
    encoding: str = "utf-8"


@dataclass(frozen=True, slots=True)
class _Columns:
    """The widths that all entries of a report share."""

    label: int = 0
    """0: the figures stand below the label."""
    before: int = 0
    after: int = 0
    change: int = 0


def lay_out(report: Report, terminal: Terminal) -> Page:
    """Sets a report in lines of at most `terminal.width` cells; only commands may be longer."""
    return _Setter(report, terminal).page()


class _Setter:
    """Sets one report for one terminal."""

    def __init__(self, report: Report, terminal: Terminal) -> None:
        self._terminal = terminal
        self._width = max(terminal.width, 10)
        self._indent = 2 if self._width >= _NARROW else 0
        self._arrow = f" {self._text('→')} "
        self._sections = report.sections
        entries = [item for part in report.sections for item in part.items]
        self._columns = self._measure(item for item in entries if isinstance(item, Entry))

    def page(self) -> Page:
        lines: list[Line] = []
        for section in self._sections:
            if lines:
                lines.append(())
            lines += self._section(section)
        return Page(tuple(lines))

    def _text(self, text: str) -> str:
        return adapted(text, self._terminal.encoding)

    def _measure(self, entries: Iterable[Entry]) -> _Columns:
        with_figures = [(entry, entry.figures) for entry in entries if entry.figures]
        if not with_figures:
            return _Columns()
        columns = _Columns(
            before=max(cells(self._text(figures.before)) for _, figures in with_figures),
            after=max(cells(self._text(figures.after)) for _, figures in with_figures),
            change=max(cells(self._change(figures)) for _, figures in with_figures),
        )
        state = max(cells(self._text(entry.state)) for entry, _ in with_figures)
        before = columns.before + len(self._arrow) if columns.before else 0
        figures_width = before + columns.after + 1 + columns.change
        left = self._width - self._indent - 2 - 2 - figures_width - (state + 1 if state else 0)
        longest = max(cells(self._text(entry.label)) for entry, _ in with_figures)
        if left < min(longest, _LABEL_MIN):
            return columns
        return replace(columns, label=min(longest, left))

    def _section(self, section: Section) -> Iterator[Line]:
        yield from self._heading(section)
        for item in section.items:
            yield from self._item(item)

    def _heading(self, section: Section) -> Iterator[Line]:
        title = self._text(section.title)
        facts = self._text(" · ".join(section.facts))
        if cells(title) + 3 + cells(facts) <= self._width:
            yield (Span(title, section.tone), Span("   "), Span(facts, Tone.DIM))
            return
        for text in wrap(title, self._width):
            yield (Span(text, section.tone),)
        yield from self._paragraph(facts, Tone.DIM, self._indent)

    def _item(self, item: Item) -> Iterator[Line]:
        if isinstance(item, Entry):
            yield from self._entry(item)
        elif isinstance(item, Remark):
            yield from self._remark(item, self._indent)
        elif isinstance(item, Listing):
            yield from self._listing(item)
        else:
            yield from self._grid(item)

    def _entry(self, entry: Entry) -> Iterator[Line]:
        margin, tone = Span(" " * self._indent), entry.label_tone
        mark = (margin, Span(self._text(entry.mark), entry.tone), Span(" "))
        figures, column = entry.figures, self._columns.label
        if figures is not None and column:
            label, *more = wrap(self._text(entry.label), column)
            yield (*mark, Span(padded(label, column + 2), tone), *self._figures(figures, entry))
        else:
            label, *more = wrap(self._text(entry.label), self._width - self._indent - 2)
            yield (*mark, Span(label, tone))
        for text in more:
            yield (margin, Span("  "), Span(text, tone))
        if figures is not None and not column:
            below = "".join(span.text for span in self._figures(figures, entry)).split()
            yield from self._paragraph(" ".join(below), entry.tone, self._indent + 2)
        for remark in entry.remarks:
            yield from self._remark(remark, self._indent * 3)

    def _figures(self, figures: Figures, entry: Entry) -> Line:
        columns = self._columns
        before = self._text(figures.before)
        change = self._change(figures)
        arrow = self._arrow if before else " " * len(self._arrow) if columns.before else ""
        return (
            Span(padded(before, columns.before, right=True)),
            Span(arrow, Tone.DIM),
            Span(padded(self._text(figures.after), columns.after)),
            Span(" "),
            Span(padded(change, columns.change), entry.tone),
            Span(f" {self._text(entry.state)}", entry.state_tone),
        )

    def _change(self, figures: Figures) -> str:
        return f"({self._text(figures.change)})" if figures.change else ""

    def _remark(self, remark: Remark, indent: int) -> Iterator[Line]:
        text = self._text(remark.text)
        if remark.tone is Tone.COMMAND:
            yield (Span(" " * (indent + self._indent)), Span(text, remark.tone))
        else:
            yield from self._paragraph(text, remark.tone, indent)

    def _paragraph(self, text: str, tone: Tone, indent: int) -> Iterator[Line]:
        for line in wrap(text, self._width - indent) if text else ():
            yield (Span(" " * indent), Span(line, tone))

    def _listing(self, listing: Listing) -> Iterator[Line]:
        yield from self._paragraph(self._text(listing.caption), Tone.DIM, self._indent)
        rows = [(self._text(lead), self._text(text)) for lead, text in listing.rows]
        widest = max((cells(lead) for lead, _ in rows), default=0)
        if widest > self._width // 3:
            for lead, text in rows:
                yield from self._paragraph(f"{lead} {text}", listing.tone, self._indent * 2)
            return
        column = widest + 2 if widest else 0
        margin = " " * (self._indent * 2)
        for lead, text in rows:
            first, *rest = wrap(text, self._width - len(margin) - column)
            yield (
                Span(margin + padded(padded(lead, widest, right=True), column)),
                Span(first, listing.tone),
            )
            for line in rest:
                yield (Span(margin + " " * column), Span(line, listing.tone))

    def _grid(self, grid: Grid) -> Iterator[Line]:
        safe = replace(
            grid,
            headers=tuple(self._text(header) for header in grid.headers),
            rows=tuple(
                tuple(Cell(self._text(cell.text), cell.tone) for cell in one) for one in grid.rows
            ),
        )
        for line in grid_lines(safe, self._width - self._indent):
            yield (Span(" " * self._indent), *line) if line else ()
