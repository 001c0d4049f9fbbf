"""A report as one self-contained page: nothing loaded from anywhere, whole without scripts.

The one script, `page.js`, sorts and searches the index. The page's policy allows it and the styles
by their hashes and forbids everything else, whatever a name holds.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from hashlib import sha256
from html import escape
from importlib.resources import files
from itertools import groupby, pairwise
from string import Template

from kisi.redaction import safe_text
from kisi.render.formatting import COMMAND, quantity
from kisi.render.report import Chart, Entry, Grid, Report, Section, Span, Tone

_COLUMNS = (
    '<colgroup><col class="c-mark"><col><col class="c-before"><col class="c-after">'
    '<col class="c-change"><col class="c-state"></colgroup>'
)
_CONTROLS = """\
<div class="controls" hidden>
<label>Find <input id="find" type="search" autocomplete="off"></label>
<label>State <select id="state"><option value="">all</option></select></label>
<output id="count"></output>
</div>"""
_WIDTH, _HEIGHT, _EDGE = 300, 40, 4
"""Of a chart, in its own units; it is drawn as wide as the page."""


def web_page(report: Report) -> str:
    """The whole page, in UTF-8."""
    frame, style, script = (
        files("kisi.render").joinpath(name).read_text(encoding="utf-8").replace("\r\n", "\n")
        for name in ("page.html", "style.css", "page.js")
    )
    script = script if any(section.row for section in report.sections) else ""
    allowed = f"style-src {_hash(style)}" + (f"; script-src {_hash(script)}" if script else "")
    sections = [x for number, one in enumerate(report.sections) for x in _section(one, number)]
    body = (
        *_index(report),
        *(sections or ['<p class="dim">There is nothing else to report.</p>']),
        *([f"<script>{script}</script>"] if script else ()),
    )
    return Template(frame).substitute(
        policy=f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'",
        title=_text(report.title),
        style=style,
        facts=_text(" · ".join(report.facts)),
        summary=_sentence(report.summary),
        body="\n".join(body),
    )


def _hash(content: str) -> str:
    return f"'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'"


def _text(text: str) -> str:
    return escape(safe_text(text))


def _sentence(text: str) -> str:
    """Prose, in which a command stands between backticks."""
    return COMMAND.sub(lambda found: f"<code>{found[1] or found[0]}</code>", _text(text))


def _toned(text: str, tone: Tone, tag: str = "span") -> str:
    """Text in its tone; `bdi` keeps a right-to-left name from turning its neighbours round."""
    shown = _sentence(text) if tag == "p" else _text(text)
    return f'<{tag} class="{tone}"><bdi>{shown}</bdi></{tag}>'


def _index(report: Report) -> Iterator[str]:
    """The clients, each with a link to its section; the script adds what sorts and searches."""
    rows = [(number, one) for number, one in enumerate(report.sections) if one.row]
    if not rows:
        return
    yield f'<nav aria-label="Clients">{_CONTROLS}<table class="index"><thead><tr>'
    yield from (f'<th scope="col">{_text(head)}</th>' for head in ("client", *report.index))
    yield "</tr></thead><tbody>"
    for number, section in rows:
        state = _text(section.row[0].text.partition(":")[0])
        link = f'<a href="#s{number}">{_toned(section.title, Tone.PLAIN)}</a>'
        yield f'<tr data-state="{state}" data-section="s{number}"><th scope="row">{link}</th>'
        yield from _cells(section.row, report.index)
        yield "</tr>"
    yield '</tbody><tfoot><tr><th scope="row">all</th>'
    yield from _cells([Span(text) for text in report.totals], report.index)
    yield "</tr></tfoot></table></nav>"


def _cells(cells: Sequence[Span], heads: Sequence[str], right: Iterable[int] = ()) -> Iterator[str]:
    """Cells that a narrow page shows one below another, each with its heading."""
    sides = set(right)
    for number, (cell, head) in enumerate(zip(cells, heads, strict=True)):
        names = ("number " if number in sides else "") + ("" if cell.text else "empty")
        side = f' class="{names.strip()}"' if names else ""
        label = f' data-label="{_text(head)}"' if head else ""
        yield f"<td{side}{label}>{_toned(cell.text, cell.tone)}</td>"


def _section(section: Section, number: int) -> Iterator[str]:
    facts = f'<span class="facts"><bdi>{_text(" · ".join(section.facts))}</bdi></span>'
    title = _toned(section.title, section.tone)
    yield f'<section id="s{number}"><h2>{title}{facts if section.facts else ""}</h2>'
    for kind, items in groupby(section.items, type):
        lines: list[str] = []
        for item in items:
            if isinstance(item, Span):
                lines.append(_remark(item))
            else:
                lines += _entry(item) if isinstance(item, Entry) else _grid(item)
        if kind is Entry:  # they share one table, so that their quantities are aligned
            lines = ['<table class="entries">', _COLUMNS, *lines, "</table>"]
        yield from lines
    yield "</section>"


def _entry(entry: Entry) -> Iterator[str]:
    mark = f'<td class="mark {entry.tone}">{_text(entry.mark)}</td>'
    label = _toned(entry.label, entry.label_tone, "span" if entry.after else "p")
    if not entry.after:
        yield f'<tr>{mark}<td class="label" colspan="5">{label}</td></tr>'
    else:
        arrow = f"{_text(entry.before)} →" if entry.before else ""
        change = f"({entry.change})" if entry.change else ""
        yield (
            f'<tr>{mark}<td class="label">{label}</td><td class="number">{arrow}</td>'
            f'<td class="number after">{_text(entry.after)}</td>'
            f'<td class="change">{_toned(change, entry.tone)}</td>'
            f'<td class="state">{_toned(entry.state, entry.state_tone)}</td></tr>'
        )
    below = (_drawn(entry.chart) if entry.chart else "") + "".join(map(_remark, entry.remarks))
    if below:
        yield f'<tr><td class="mark"></td><td colspan="5" class="remarks">{below}</td></tr>'


def _drawn(chart: Chart) -> str:
    """A chart as a picture that anybody can read: drawn in steps, with a gap where nobody knows."""
    known = [value for _, value in chart.points if value is not None] or [Decimal(0)]
    low, high = min(known), max(known)
    first, last = chart.points[0][0], chart.points[-1][0]
    days = max((last - first).days, 1)
    path: list[str] = []
    before: Decimal | None = None
    for (day, value), (following, _) in pairwise(chart.points):
        if value is not None:
            left, right = ((x - first).days * _WIDTH / days for x in (day, following))
            part = Decimal("0.5") if high == low else (high - value) / (high - low)
            height = _EDGE + float(part) * (_HEIGHT - 2 * _EDGE)
            start = f"M{left:.1f} {height:.1f}" if before is None else f"V{height:.1f}"
            path.append(f"{start}H{max(right, left + 1):.1f}")
        before = value
    between = quantity(low) if low == high else f"{quantity(low)} to {quantity(high)}"
    shown = _text(chart.text or f"{between} from {first} to {last}")
    told = f'<p class="dim"><bdi>{_text(chart.text)}</bdi></p>' if chart.text else ""
    return (
        f'<figure><svg role="img" aria-label="{shown}" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'preserveAspectRatio="none"><title>{shown}</title><path d="{"".join(path)}"/></svg>'
        f"<figcaption><span>{first}</span><span>{between}</span><span>{last}</span></figcaption>"
        f"</figure>{told}"
    )


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
    if any(grid.headers):
        sides = [' class="number"' if i in grid.right else "" for i in range(len(grid.headers))]
        heads = zip(grid.headers, sides, strict=True)
        yield f"<thead><tr>{''.join(f'<th{side}>{_text(head)}</th>' for head, side in heads)}"
        yield "</tr></thead>"
    for one in grid.rows:
        yield f"<tr>{''.join(_cells(one, grid.headers, grid.right))}</tr>"
    yield "</table>"
