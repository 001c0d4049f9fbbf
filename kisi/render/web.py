"""A report as one self-contained page: no scripts, nothing loaded from anywhere, fit to print."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from importlib.resources import files
from itertools import groupby

from kisi.redaction import safe_text
from kisi.render.report import Entry, Grid, Item, Report, Section, Span, Tone

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_COLUMNS = (
    '<colgroup><col class="c-mark"><col><col class="c-before"><col class="c-after">'
    '<col class="c-change"><col class="c-state"></colgroup>'
)


def web_page(report: Report) -> str:
    """The whole page, in UTF-8. Its policy forbids scripts and requests, whatever a name holds."""
    style = files("kisi.render").joinpath("style.css").read_text(encoding="utf-8")
    sections = [line for section in report.sections for line in _section(section)]
    lines = (
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        f"<title>{_text(report.title)}</title>",
        f"<style>\n{style}</style>",
        "</head>",
        "<body>",
        f"<header><h1>{_text(report.title)}</h1>",
        f'<p class="facts">{_text(" · ".join(report.facts))}</p>',
        f'<p class="summary">{_text(report.summary)}</p></header>',
        *(sections or ['<p class="dim">There is nothing else to report.</p>']),
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
    for kind, items in groupby(section.items, type):
        lines = [line for item in items for line in _item(item)]
        if kind is Entry:  # they share one table, so that their quantities are aligned
            lines = ['<table class="entries">', _COLUMNS, *lines, "</table>"]
        yield from lines
    yield "</section>"


def _item(item: Item) -> Iterator[str]:
    if isinstance(item, Entry):
        return _entry(item)
    return iter([_remark(item)]) if isinstance(item, Span) else _grid(item)


def _entry(entry: Entry) -> Iterator[str]:
    mark = f'<td class="mark {entry.tone}">{_text(entry.mark)}</td>'
    label = _toned(entry.label, entry.label_tone)
    if not entry.after:
        yield f'<tr>{mark}<td colspan="5">{label}</td></tr>'
    else:
        arrow = f"{_text(entry.before)} →" if entry.before else ""
        change = f"({entry.change})" if entry.change else ""
        yield (
            f'<tr>{mark}<td>{label}</td><td class="number">{arrow}</td>'
            f'<td class="number after">{_text(entry.after)}</td>'
            f'<td class="change">{_toned(change, entry.tone)}</td>'
            f'<td class="state">{_toned(entry.state, entry.state_tone)}</td></tr>'
        )
    if entry.remarks:
        remarks = "".join(map(_remark, entry.remarks))
        yield f'<tr><td></td><td colspan="5" class="remarks">{remarks}</td></tr>'


def _remark(remark: Span) -> str:
    if remark.tone is Tone.COMMAND:
        return f"<p><code>{_text(remark.text)}</code></p>"
    return _toned(remark.text, remark.tone, "p")


def _grid(grid: Grid) -> Iterator[str]:
    if grid.caption:
        yield _toned(grid.caption, Tone.DIM, "p")
    if grid.headers == ("",):
        yield "<ul>"
        yield from (_toned(cell.text, cell.tone, "li") for (cell,) in grid.rows)
        yield "</ul>"
        return
    yield f'<table class="{"grid" if grid.caption is None else "listing"}">'
    sides = [' class="number"' if i in grid.right else "" for i in range(len(grid.headers))]
    if any(grid.headers):
        heads = zip(grid.headers, sides, strict=True)
        yield f"<tr>{''.join(f'<th{side}>{_text(head)}</th>' for head, side in heads)}</tr>"
    for one in grid.rows:
        cells = (
            f"<td{side}>{_toned(cell.text, cell.tone)}</td>"
            for cell, side in zip(one, sides, strict=True)
        )
        yield f"<tr>{''.join(cells)}</tr>"
    yield "</table>"
