"""The page: the same content as the table, in which no name can act."""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import replace
from datetime import date
from decimal import Decimal
from hashlib import sha256
from html import escape, unescape
from html.parser import HTMLParser

import render_samples as samples
from hypothesis import given, settings
from hypothesis import strategies as st

from kisi.model import Plan
from kisi.redaction import safe_text
from kisi.render.plan_report import plan_report
from kisi.render.report import Chart, Entry, Grid, Report, Section, Span, Tone, row
from kisi.render.status import status_report
from kisi.render.terminal import lay_out
from kisi.render.web import web_page


class Tags(HTMLParser):
    """Collects tags, attributes and text; complains about what is not closed."""

    VOID = ("meta", "col", "input")

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
    table = lay_out(plan_report(preview, verbose=True), 200)
    assert words(table) <= words(page)
    last_line = preview.last_line.replace("`", "").replace(" ", "")  # a command is code there
    assert last_line in re.sub(r"\s", "", unescape(page))
    assert "kisi 1.0.0, 2026-11-03 06:12 · nothing was written · plan 4f2a91c0d3e7" in page


def test_the_only_script_is_the_one_that_the_policy_names(preview):
    page = web_page(plan_report(preview, page=True))
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    for content in (script, style):
        digest = b64encode(sha256(content.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert not any(name.startswith("on") or name == "style" for name in parsed(page).attributes)


def test_the_index_has_every_client_with_a_link_to_its_section(preview):
    page = web_page(plan_report(preview, page=True))
    for client in preview.plan.companies:
        shown = escape(client.company.name)
        (number,) = re.findall(rf'<a href="#(s\d+)"><span class="plain"><bdi>{shown}<', page)
        assert f'<section id="{number}"><h2>' in page
        assert page.partition(f'<section id="{number}">')[2].partition("</h2>")[0].find(shown) > 0
    assert page.count("<tr data-state=") == len(preview.plan.companies)


def test_a_chart_is_drawn_in_steps_with_its_gaps_and_says_what_it_shows():
    days = [date(2026, 11, number) for number in (1, 2, 3, 4, 5)]
    numbers = (Decimal(10), None, Decimal(20), Decimal(20), None)
    chart = Chart(tuple(zip(days, numbers, strict=True)))
    entry = Entry("=", Tone.DIM, "KES", after="20", chart=chart)
    page = web_page(Report("t", (Section("s", (), (entry,)),)))
    assert '<path d="M0.0 36.0H75.0M150.0 4.0H225.0V4.0H300.0"/>' in page
    assert 'role="img" aria-label="10 to 20 from 2026-11-01 to 2026-11-05"' in page


def test_commands_in_a_sentence_are_code():
    said = "Run `kisi map`, or kisi sync --accept 77b0e1c2 --accept 0c44d8e9."
    page = web_page(Report("t", (Section("s", (), (Span(said),)),)))
    assert "Run <code>kisi map</code>, or " in page
    assert "<code>kisi sync --accept 77b0e1c2 --accept 0c44d8e9</code>." in page


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
