from __future__ import annotations

import pytest

from kisi.sandbox.connectwise_lists import ConditionError, parse

RECORD = {
    "id": 7,
    "name": "O'Brien & Co",
    "quantity": 2.5,
    "cancelledFlag": False,
    "startDate": "2026-11-01T00:00:00Z",
    "product": {"id": 1201, "identifier": "KES-WS"},
}
FIELDS = {*RECORD, "product/id", "product/identifier", "cancelledDate"}


@pytest.mark.parametrize(
    "conditions",
    [
        "",
        "  ",
        "id=7",
        "id = 7 AND quantity > 2",
        "id in (1, 7)",
        "id not in (1, 2) and product/id IN (1201)",
        'name = "o\'brien & co"',
        "product/identifier = 'kes-ws'",
        'product/identifier like "KES%"',
        'name contains "brien"',
        'name not contains "smith" and name not like "*x"',
        "cancelledFlag = False",
        "cancelledDate = null",
        "cancelledDate in (null, [2026-11-01])",
        "name != null",
        "startDate >= [2026-11-01T00:00:00Z] and startDate < [2026-11-02]",
        "quantity <= 2.5 and quantity >= 2.5 and quantity != -1",
        "id=1 or (id=7 and (quantity=2.5))",
        "id=7 or id=1 and id=2",
    ],
)
def test_conditions_that_hold(conditions):
    assert parse(conditions, FIELDS)(RECORD)


@pytest.mark.parametrize(
    "conditions",
    [
        "id=8",
        "id not in (7)",
        "cancelledFlag = true",
        "cancelledDate != null",
        "cancelledDate > [2000-01-01]",
        "quantity > null",
        "(id=7 or id=1) and id=2",
    ],
)
def test_conditions_that_do_not_hold(conditions):
    assert not parse(conditions, FIELDS)(RECORD)


@pytest.mark.parametrize(
    "conditions",
    [
        "id",
        "id =",
        "id = ,",
        "id = 7 8",
        "id not = 7",
        "id is null",
        "Id = 7",
        "7 = id",
        "id in 7",
        "id in (7",
        "(id = 7",
        "id = 7 or",
        "startDate > [yesterday]",
        'name = "unfinished',
        "id = 7 & quantity = 1",
    ],
)
def test_conditions_that_cannot_be_understood(conditions):
    with pytest.raises(ConditionError):
        parse(conditions, FIELDS)
