"""The types of the interface, there and back, and everything that is none."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kisi.sources.ksc.openapi import (
    ServerLabel,
    Unreadable,
    authorization,
    problem_in,
    unwrap,
)

SCALARS = st.booleans() | st.text(max_size=20) | st.integers() | st.floats(allow_nan=False)
WRAPPED = st.fixed_dictionaries(
    {"type": st.sampled_from(["long", "datetime", "params", "colour"]), "value": SCALARS}
)
NAMES = st.text(max_size=8) | st.sampled_from(["type", "value"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner | st.none(), max_size=4) | st.dictionaries(NAMES, inner, max_size=4)
    ),
    max_leaves=20,
)


def decode(value: object) -> object:
    """What is made of an answer."""
    return json.loads(json.dumps(value), object_hook=unwrap)


@given(VALUES)
def test_what_is_not_wrapped_stays_as_it_is(value: object) -> None:
    assert decode([value]) == [value]


@pytest.mark.slow
@given(
    st.recursive(
        st.none() | SCALARS | WRAPPED,
        lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner),
    )
)
def test_nothing_breaks_the_decoder(value: object) -> None:
    assert decode(value) == decode(value)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("long", "123", 123),
        ("long", -5, -5),
        ("datetime", "", None),
        ("datetime", None, None),
        ("datetime", "2021-02-23T10:14:33Z", datetime(2021, 2, 23, 10, 14, 33, tzinfo=UTC)),
        ("datetime", "2021-02-23T10:14:33", datetime(2021, 2, 23, 10, 14, 33, tzinfo=UTC)),
        ("datetime", "2021-02-23T10:14:33+02:00", datetime(2021, 2, 23, 8, 14, 33, tzinfo=UTC)),
        ("binary", "AAEC", {"type": "binary", "value": "AAEC"}),
        ("params", {"a": {"type": "long", "value": 1}}, {"a": 1}),
        ("colour", "red", {"type": "colour", "value": "red"}),
        (["long"], 5, {"type": ["long"], "value": 5}),
    ],
)
def test_a_wrapped_value_is_unwrapped(kind: object, value: object, expected: object) -> None:
    assert decode({"type": kind, "value": value}) == expected
    assert decode([{"x": {"type": kind, "value": value}}]) == [{"x": expected}]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("long", "many"),
        ("long", 1.5),
        ("long", True),
        ("datetime", "yesterday"),
        ("datetime", 5),
        ("datetime", {}),
        ("datetime", "0001-01-01T00:00:00+14:00"),
        ("params", []),
        ("long", "9" * 5000),
    ],
)
def test_a_value_of_another_type_harms_no_other(kind: str, value: object) -> None:
    wrong = {"type": kind, "value": value}
    assert decode([{"x": wrong, "y": 1}]) == [{"x": Unreadable(value), "y": 1}]
    assert str(decode(wrong)) == str(value)


def test_errors_are_found_whatever_their_form() -> None:
    def said(error: object) -> str:
        return str(problem_in(ServerLabel("hq"), "X.Y", {"PxgError": error}))

    assert problem_in(ServerLabel("hq"), "X.Y", {"PxgRetVal": 1}) is None
    full = {"code": 1184, "subcode": 2, "module": "KLSTD", "message": "Access denied", "line": 1}
    assert 'which X.Y needs (1184 KLSTD: "Access denied")' in said(full)
    assert "X.Y failed (it did not say why)." in said({"code": "1184"})
    assert 'X.Y failed ("broken").' in said("broken")
    assert "X.Y failed (31999 KLX)." in said({"code": 31999, "module": "KLX"})


def test_the_login_header_has_all_four_parameters() -> None:
    assert authorization("jürgen", "pässword", "ACME", internal=False) == (
        f'KSCBasic user="{base64.b64encode("jürgen".encode()).decode()}", '
        f'pass="{base64.b64encode("pässword".encode()).decode()}", domain="ACME", internal="0"'
    )
