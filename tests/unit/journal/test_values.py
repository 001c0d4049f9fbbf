from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kisi.errors import StateError
from kisi.journal import database
from kisi.model import Category, KeyEvidence, PlannedLine, TenantRef, TenantUsage, UnmappedUse
from tests.unit.journal.builders import company, held, usage


def test_a_usage_comes_back_as_it_was() -> None:
    stored = usage(devices=3)
    key = KeyEvidence(
        "1",
        "n",
        counted=False,
        reason="expired",
        used=None,
        expires=datetime(2026, 1, 1, tzinfo=UTC),
    )
    unmapped = UnmappedUse("Contoso", "KSO", 4, tenant=company().tenants[0], category=Category.ALL)
    stored = TenantUsage(
        stored.tenant, stored.at, stored.applications, (unmapped,), (key,), ("odd",)
    )

    assert database.loads(TenantUsage, database.pack(stored)) == stored


def test_a_held_line_comes_back_as_it_was() -> None:
    lines = (held(unit_price=Decimal("4.50")), held(before=None))

    assert database.loads(tuple[PlannedLine, ...], database.pack(lines)) == lines


def test_another_versions_fields_are_passed_over_and_missing_ones_take_their_default() -> None:
    text = '{"serial":"1","name":"n","counted":true,"reason":"r","used":null,"colour":"blue"}'

    assert database.loads(KeyEvidence, text) == KeyEvidence(
        "1", "n", counted=True, reason="r", used=None
    )


@pytest.mark.parametrize(
    ("kind", "stored"),
    [
        (int, "abc"),
        (datetime, "abc"),
        (datetime, 10**18),
        (Decimal, "abc"),
        (Decimal, "NaN"),
        (date, "2026-13-01"),
        (Category, "abc"),
        (tuple[Category, ...], "abc"),
        (TenantRef, "abc"),
        (tuple[TenantRef, ...], "{"),
        (tuple[TenantRef, ...], "3"),
        (tuple[TenantRef, ...], '[{"source":"hq"}]'),
        (Mapping[Category, int], '{"all":"abc"}'),
        (Mapping[Category, int], "[]"),
        (TenantUsage, b"abc"),
        (TenantUsage, database.pack({"tenant": None})),
    ],
)
def test_what_is_not_as_it_was_written_is_an_error_in_a_sentence(
    kind: Any, stored: str | int | bytes
) -> None:
    with pytest.raises(
        StateError, match=r"^The journal cannot be used: usage is .* cannot read\.$"
    ):
        database.loads(kind, stored, "usage")


def test_a_set_is_stored_in_order_and_comes_back_a_set() -> None:
    assert database.dumps(frozenset({"b", "a"})) == '["a","b"]'
    assert database.loads(frozenset[str], '["a","b"]') == frozenset({"a", "b"})


def test_equal_values_give_equal_bytes_whatever_the_order_of_a_mapping() -> None:
    value = MappingProxyType({"b": 1, "a": Decimal("2.50")})

    assert database.dumps(value) == '{"a":"2.5","b":1}'


def test_what_has_no_json_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="does not store complex"):
        database.dumps({"a": 1j})


@given(
    st.decimals(
        allow_nan=False, allow_infinity=False, places=4, max_value=10**9, min_value=-(10**9)
    )
)
def test_a_quantity_is_the_same_number_as_text_and_equal_numbers_are_equal_text(
    quantity: Decimal,
) -> None:
    text = database.quantity_text(quantity)

    assert Decimal(text) == quantity
    assert database.quantity_text(quantity * Decimal("1.00")) == text


def test_an_instant_is_the_same_in_every_time_zone_and_never_naive() -> None:
    there = timezone(timedelta(hours=14))
    at = datetime(2026, 11, 2, 17, 0, tzinfo=there)

    assert database.from_epoch(database.to_epoch(at)) == datetime(2026, 11, 2, 3, 0, tzinfo=UTC)
    with pytest.raises(ValueError, match="without a time zone"):
        database.to_epoch(datetime(2026, 11, 2))  # noqa: DTZ001  # the point of the test


@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_any_text_can_be_stored_and_what_a_file_can_hold_is_not_changed(text: str) -> None:
    stored = database.storable(text)

    assert stored.encode("utf-8").decode("utf-8") == stored
    assert stored == text or any("\ud800" <= character <= "\udfff" for character in text)
