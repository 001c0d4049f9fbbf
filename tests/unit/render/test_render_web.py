"""The page: the same content as the table, in which no name can act."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser

import render_samples as samples
from hypothesis import given, settings
from hypothesis import strategies as st

from kisi.model import Plan
from kisi.redaction import safe_text
from kisi.render.plan_report import plan_report
from kisi.render.report import Grid, Report, Section, row
from kisi.render.status import status_report
from kisi.render.terminal import lay_out
from kisi.render.web import web_page


class Tags(HTMLParser):
    """Collects tags, attributes and text; complains about what is not closed."""

    VOID = ("meta", "col")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data + " "


def parsed(page: str) -> Tags:
    tags = Tags()
    tags.feed(page)
    tags.close()
    assert tags.open == []
    return tags


def test_the_page_loads_nothing_and_runs_nothing(preview):
    page = web_page(plan_report(preview))
    tags = parsed(page)
    assert not tags.seen & {"script", "link", "img", "iframe", "a", "form"}
    assert not any(name.startswith("on") for name in tags.attributes)
    assert "default-src 'none'" in page
    assert "http://" not in page
    assert "https://" not in page


def test_the_page_has_every_word_of_the_table_and_the_last_line(preview):
    def words(text: str) -> set[str]:
        return set(re.findall(r"[\w.+-]+", text))

    page = parsed(web_page(plan_report(preview, verbose=True))).text
    table = lay_out(plan_report(preview, verbose=True), 200).plain
    assert words(table) <= words(page)
    assert preview.last_line in unescape(page)
    assert "kisi 1.0.0, 2026-11-03 06:12 · nothing was written · plan 4f2a91c0d3e7" in page


def test_a_quiet_day_has_a_page_too():
    page = parsed(web_page(plan_report(samples.view(Plan((samples.quiet_client(),)))))).text
    assert "1 of 1 clients up to date." in page
    assert "There is nothing else to report." in page


@settings(max_examples=40)
@given(
    st.one_of(st.text(), st.sampled_from(["<script>alert(1)</script>", "\"'><b>", "&lt;", "\x00"]))
)
def test_no_name_can_become_markup(name):
    plan = samples.six_clients()
    first = plan.companies[0]
    first = replace(
        first,
        company=replace(first.company, name=name),
        agreement_name=name,
        notes=(name,),
        lines=tuple(replace(line, application=name, detail=name) for line in first.lines),
    )
    tags = parsed(
        web_page(plan_report(samples.view(replace(plan, companies=(first, *plan.companies[1:])))))
    )
    assert not tags.seen & {"script", "b"}
    assert safe_text(name) in tags.text


def test_the_status_page_is_well_formed_and_has_its_grids():
    tags = parsed(web_page(status_report(samples.status_view(), detailed=True)))
    assert "crashed" in tags.text
    assert {"ul", "code", "th", "bdi"} <= tags.seen


def test_a_grid_without_headings_has_no_heading_row():
    report = Report("t", (Section("s", (), (Grid(("", ""), (row("a", "b"),)),)),))
    assert "<th" not in web_page(report)
