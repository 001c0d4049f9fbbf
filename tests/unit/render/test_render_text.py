"""Remote text is shown and never acts; widths are terminal cells."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kisi.json_text import fields, instant, plain
from kisi.model import TenantRef, UnmappedUse
from kisi.redaction import safe_text
from kisi.render.formatting import day, moment, money, plural, quantity, signed
from kisi.render.terminal import adapted, cells, padded, wrap


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Müller & Söhne", "Müller & Söhne"),
        ("東京 株式会社", "東京 株式会社"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\nb\tc\r", "a\\x0ab\\x09c\\x0d"),
        ("\x9b0m", "\\x9b0m"),
        ("evil\u202egnp.exe", "evil\\u202egnp.exe"),
        ("\u2066x\u2069\u200e", "\\u2066x\\u2069\\u200e"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
        ("no\xa0break", "no\\xa0break"),
        ("[bold]not markup[/]", "[bold]not markup[/]"),
        ("", ""),
    ],
)
def test_what_could_act_on_a_terminal_is_shown_as_an_escape(text, shown):
    assert safe_text(text) == shown


@pytest.mark.parametrize("hours", [-12, 14])
def test_an_instant_at_the_end_of_the_calendar_is_a_day_in_every_zone(hours):
    zone = timezone(timedelta(hours=hours))
    never = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    unset = datetime(1, 1, 1, tzinfo=UTC)
    assert (day(never, zone), moment(never, zone)[:10]) == ("9999-12-31", "9999-12-31")
    assert day(unset, zone).lstrip("0") == "1-01-01"


def test_what_the_encoding_lacks_is_shown_as_an_escape():
    assert adapted("Łódź 東", "cp1252") == "\\u0141ód\\u017a \\u6771"
    assert adapted("ü", "ascii") == "\\xfc"


@given(st.text())
def test_safe_text_is_printable_and_loses_nothing(text):
    shown = safe_text(text)
    assert shown.isprintable()
    assert "\n" not in shown
    assert len(shown) >= len(text)
    assert safe_text(shown) == shown


@given(st.text(), st.sampled_from(["ascii", "cp1252", "utf-8", "cp850", "cp932", "utf-16"]))
def test_adapted_text_can_always_be_encoded(text, encoding):
    adapted(text, encoding).encode(encoding)


def test_symbols_have_stand_ins_only_where_the_encoding_lacks_them():
    assert adapted("1 → 2 · … ✗", "utf-8") == "1 → 2 · … ✗"
    assert adapted("1 → 2 · … ✗", "cp1252") == "1 -> 2 · … x"
    assert adapted("1 → 2 · … ✗", "ascii") == "1 -> 2 - ... x"


def test_cells_count_wide_characters_twice_and_combining_marks_not_at_all():
    assert cells("abc") == 3
    assert cells("東京") == 4
    assert cells("e\u0301") == 1
    assert padded("東", 4) == "東  "
    assert padded("7", 3, right=True) == "  7"


def test_text_wraps_at_spaces_and_breaks_only_what_is_too_long():
    assert wrap("Kaspersky Endpoint Security", 18) == ["Kaspersky Endpoint", "Security"]
    assert wrap("abcdefgh ij", 5) == ["abcde", "fgh", "ij"]
    assert wrap("東京都港区", 5) == ["東京", "都港", "区"]
    assert wrap("", 5) == [""]


@pytest.mark.parametrize(
    "command",
    [
        "kisi sync" + " --accept 22f5d1b7" * 9,
        "`kisi map list --stale`",
        "kisi map company cw:1042 --remove-tenant hq:VSRV.1",
    ],
)
@pytest.mark.parametrize("width", [2, 20, 80, 120])
def test_a_command_is_never_broken(command, width):
    """Half of one, copied from two lines, would be another command."""
    lines = wrap(f"Long enough to wrap, whatever the width. Then: {command}. And more.", width)
    (line,) = (line for line in lines if command[:6] in line)
    assert command in line
    (name, *_) = wrap("`a name between marks is no command`", 6)
    assert name == "`a"


def test_no_line_starts_with_the_dash_of_a_key_name():
    assert wrap("Security for Business - Advanced", 21) == ["Security for", "Business - Advanced"]


@given(st.text(), st.integers(min_value=2, max_value=40))
def test_wrapped_lines_fit_and_lose_nothing_but_spaces(text, width):
    safe = safe_text(text)
    lines = wrap(safe, width)
    assert all(cells(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == safe.replace(" ", "")


def test_quantities_are_written_without_noise():
    assert [quantity(Decimal(x)) for x in ("10", "2.50", "100", "0", "-0", "1E+3")] == [
        "10",
        "2.5",
        "100",
        "0",
        "0",
        "1000",
    ]
    assert [signed(quantity(Decimal(x))) for x in ("2", "-10", "0")] == ["+2", "-10", "0"]
    assert len(quantity(Decimal("1E+308"))) == 309


def test_money_is_exact_and_rounded_half_up_to_cents():
    assert money(Decimal("0.1") + Decimal("0.2")) == "0.30"
    assert money(Decimal("2.675")) == "2.68"
    assert signed(money(Decimal(9))) == "+9.00"
    assert signed(money(Decimal(-450))) == "-450.00"
    assert signed(money(Decimal("-0.001"))) == "0.00"
    assert signed(money(Decimal("0.001"))) == "0.00"
    assert money(Decimal("1E+308") * 90).endswith(".00")


def test_json_numbers_are_integers_where_they_can_be():
    assert [plain(Decimal(x)) for x in ("90", "90.0", "4.5", "0.1")] == [90, 90, 4.5, 0.1]
    assert isinstance(plain(Decimal("90.0")), int)
    assert plain(None) is None


def test_instants_are_told_in_the_billing_time_zone_and_to_programs_in_utc():
    kiritimati = timezone(timedelta(hours=14))
    at = datetime(2026, 12, 31, 11, 5, 59, 123, tzinfo=UTC)
    assert moment(at, kiritimati) == "2027-01-01 01:05"
    assert day(at, kiritimati) == "2027-01-01"
    assert instant(at.astimezone(kiritimati)) == "2026-12-31T11:05:59Z"
    assert instant(None) is None


def test_nouns_follow_their_number():
    assert [plural(n, "line") for n in (0, 1, 2)] == ["0 lines", "1 line", "2 lines"]
    assert plural(2, "mailbox", "mailboxes") == "2 mailboxes"


def test_a_field_can_have_another_name_and_come_from_further_inside():
    use = UnmappedUse("Contoso", "KES", 3, tenant=TenantRef("hq", "V1"))
    names = "application uses=quantity source=tenant.source"
    assert fields(use, names) == {"application": "KES", "uses": 3, "source": "hq"}
    assert fields(replace(use, tenant=None), "source=tenant.source") == {"source": None}
