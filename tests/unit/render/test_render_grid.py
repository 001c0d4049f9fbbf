"""Tables within a width."""

from __future__ import annotations

from kisi.render.report import Grid, row
from kisi.render.terminal import grid_lines


def text(grid: Grid, width: int) -> list[str]:
    return ["".join(span.text for span in line).rstrip() for line in grid_lines(grid, width)]


def test_only_columns_of_prose_wrap():
    grid = Grid(
        ("id", "name"), (row("VSRV-0001", "Fourth Coffee of London"),), flexible=frozenset({1})
    )
    assert text(grid, 40) == ["id         name", "VSRV-0001  Fourth Coffee of London"]
    assert text(grid, 26) == ["id         name", "VSRV-0001  Fourth Coffee", "           of London"]


def test_what_cannot_fit_is_told_record_by_record():
    grid = Grid(("id", "n", ""), (row("VSRV-0001", "", "end"), row("VSRV-0002", "12", "")))
    assert text(grid, 10) == ["id:", "VSRV-0001", "end", "", "id:", "VSRV-0002", "n: 12"]


def test_a_grid_without_headings_has_no_heading_line():
    assert text(Grid(("", ""), (row("1", "a"), row("10", "b")), frozenset({0})), 20) == [
        " 1  a",
        "10  b",
    ]
