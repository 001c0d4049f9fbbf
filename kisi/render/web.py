"""A report as one self-contained page: no scripts, nothing loaded from anywhere, fit to print."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape

from kisi.render.report import Cell, Entry, Grid, Listing, Remark, Report, Section, Tone
from kisi.render.text import safe_text
from kisi.render.web_style import STYLE

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_COLUMNS = (
    '<colgroup><col class="c-mark"><col><col class="c-before"><col class="c-after">'
    '<col class="c-change"><col class="c-state"></colgroup>'
)
_NOTHING = "There is nothing else to report."


def web_page(report: Report) -> str:
    """The whole page, in UTF-8. Its policy forbids scripts and requests, whatever a name holds."""
    sections = [line for section in report.sections for line in _section(section)]
    lines = (
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        f"<title>{_text(report.title)}</title>",
        f"<style>{STYLE}</style>",
        "</head>",
        "<body>",
        f"<header><h1>{_text(report.title)}</h1>",
        f'<p class="facts">{_text(" · ".join(report.facts))}</p>',
        f'<p class="verdict">{_text(report.verdict)}</p></header>',
        *(sections or [f'<p class="dim">{_NOTHING}</p>']),
        "</body>",
        "</html>",
    )
    return "\n".join(lines) + "\n"


def _text(text: str) -> str:
    return escape(safe_text(text))


def _toned(text: str, tone: Tone, tag: str = "span") -> str:
    """Text in its tone; `bdi` keeps a right-to-left name from turning its neighbours round."""
    return f'<{tag} class="{tone}"><bdi>{_text(text)}</bdi></{tag}>'


def _section(section: Section) -> Iterator[str]:
    facts = f'<span class="facts"><bdi>{_text(" · ".join(section.facts))}</bdi></span>'
    title = _toned(section.title, section.tone)
    yield f"<section><h2>{title}{facts if section.facts else ''}</h2>"
    entries: list[Entry] = []
    for item in section.items:
        if isinstance(item, Entry):
            entries.append(item)
            continue
        yield from _entries(entries)
        entries.clear()
        yield from _item(item)
    yield from _entries(entries)
    yield "</section>"


def _entries(entries: Iterable[Entry]) -> Iterator[str]:
    """Entries that follow each other share one table, so that their figures are aligned."""
    rows = [line for entry in entries for line in _entry(entry)]
    if rows:
        yield from ('<table class="entries">', _COLUMNS, *rows, "</table>")


def _entry(entry: Entry) -> Iterator[str]:
    mark = f'<td class="mark {entry.tone}">{_text(entry.mark)}</td>'
    label = _toned(entry.label, entry.label_tone)
    figures = entry.figures
    if figures is None:
        yield f'<tr>{mark}<td colspan="5">{label}</td></tr>'
    else:
        arrow = f"{_text(figures.before)} →" if figures.before else ""
        change = f"({figures.change})" if figures.change else ""
        yield (
            f'<tr>{mark}<td>{label}</td><td class="figure">{arrow}</td>'
            f'<td class="figure after">{_text(figures.after)}</td>'
            f'<td class="change">{_toned(change, entry.tone)}</td>'
            f'<td class="state">{_toned(entry.state, entry.state_tone)}</td></tr>'
        )
    if entry.remarks:
        remarks = "".join(_remark(remark) for remark in entry.remarks)
        yield f'<tr><td></td><td colspan="5" class="remarks">{remarks}</td></tr>'


def _remark(remark: Remark) -> str:
    if remark.tone is Tone.COMMAND:
        return f"<p><code>{_text(remark.text)}</code></p>"
    return _toned(remark.text, remark.tone, "p")


def _item(item: Remark | Listing | Grid) -> Iterator[str]:
    if isinstance(item, Remark):
        yield _remark(item)
    elif isinstance(item, Listing):
        yield from _listing(item)
    else:
        yield from _grid(item)


def _listing(listing: Listing) -> Iterator[str]:
    if listing.caption:
        yield _toned(listing.caption, Tone.DIM, "p")
    if not any(lead for lead, _ in listing.rows):
        yield from (
            "<ul>",
            *(_toned(text, listing.tone, "li") for _, text in listing.rows),
            "</ul>",
        )
        return
    yield '<table class="listing">'
    for lead, text in listing.rows:
        yield f"<tr><td>{_text(lead)}</td><td>{_toned(text, listing.tone)}</td></tr>"
    yield "</table>"


def _grid(grid: Grid) -> Iterator[str]:
    yield '<table class="grid">'
    if any(grid.headers):
        heads = (
            f"<th{_side(index, grid)}>{_text(head)}</th>" for index, head in enumerate(grid.headers)
        )
        yield f"<tr>{''.join(heads)}</tr>"
    for one in grid.rows:
        yield f"<tr>{''.join(_cell(index, cell, grid) for index, cell in enumerate(one))}</tr>"
    yield "</table>"


def _cell(index: int, cell: Cell, grid: Grid) -> str:
    return f"<td{_side(index, grid)}>{_toned(cell.text, cell.tone)}</td>"


def _side(index: int, grid: Grid) -> str:
    return ' class="figure"' if index in grid.right else ""
