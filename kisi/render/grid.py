"""Tables within a width: columns that fit, columns that wrap, or one record below the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kisi.render.page import Line, Span
from kisi.render.report import Cell, Grid, Tone
from kisi.render.text import cells, padded, wrap

_GAP = 2
_NARROWEST = 12


def grid_lines(grid: Grid, width: int) -> Iterator[Line]:
    """Lays out a grid whose texts are safe already, in lines of at most `width` cells."""
    widths = _widths(grid, width)
    if widths is None:
        yield from _records(grid, width)
        return
    if any(grid.headers):
        header = tuple(Cell(text, Tone.DIM) for text in grid.headers)
        yield from _row(header, widths, grid.right)
    for one in grid.rows:
        yield from _row(one, widths, grid.right)


def _widths(grid: Grid, width: int) -> list[int] | None:
    """The width of each column; the widest give way first. None if the grid cannot fit."""
    columns = list(
        zip(grid.headers, *([cell.text for cell in one] for one in grid.rows), strict=True)
    )
    widths = [max(map(cells, column)) for column in columns]
    while sum(widths) + _GAP * (len(widths) - 1) > width:
        widest = max(grid.flexible, key=lambda index: widths[index], default=None)
        if widest is None or widths[widest] <= _NARROWEST:
            return None
        widths[widest] -= 1
    return widths


def _row(row: Sequence[Cell], widths: Sequence[int], right: frozenset[int]) -> Iterator[Line]:
    wrapped = [wrap(cell.text, size) for cell, size in zip(row, widths, strict=True)]
    for height in range(max(map(len, wrapped))):
        line = []
        for index, (cell, texts, size) in enumerate(zip(row, wrapped, widths, strict=True)):
            text = texts[height] if height < len(texts) else ""
            line.append(Span(padded(text, size, right=index in right), cell.tone))
            line.append(Span(" " * _GAP))
        yield tuple(line[:-1])


def _records(grid: Grid, width: int) -> Iterator[Line]:
    for number, one in enumerate(grid.rows):
        if number:
            yield ()
        for header, cell in zip(grid.headers, one, strict=True):
            text = f"{header}: {cell.text}" if header else cell.text
            for line in wrap(text, width) if cell.text else ():
                yield (Span(line, cell.tone),)
