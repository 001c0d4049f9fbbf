"""A distributor's file that is not what it should be: nothing is compared, or every row is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import posix_shell
from tests.e2e.conftest import Operator, Result
from tests.faults import conftest

operator = conftest.operator
INVOICE = '[invoices.nord.columns]\ncustomer = "Kunde"\nname = "Artikel"\nquantity = "Menge"\n'
HEADINGS = "Kunde;Artikel;Menge\r\n"


def reconcile(operator: Operator, content: bytes | Path, *more: str) -> Result:
    operator.more = INVOICE
    file = operator.folder / "bought.csv" if isinstance(content, bytes) else content
    operator.write_files()
    if isinstance(content, bytes):
        file.write_bytes(content)
    result = operator.run("reconcile", str(file), "--invoice", "nord", *more)
    assert result.requests == ()
    return result


@pytest.mark.fault(
    14,
    injection="a distributor's file has more rows than the cap, holds a NUL, or is cut off in a text",
    outcome="exit 3 names the line and nothing is compared",
)
@pytest.mark.parametrize(
    ("content", "said"),
    [
        ((HEADINGS + "A;B;1\r\n" * 100_000).encode(), "more than 100,000 rows"),
        (HEADINGS.encode() + b"A\0;B;1\r\n", "no text"),
        (HEADINGS.encode() + b'A;B;1\r\nA;"B;1\r\n', "Line 3 is no valid CSV"),
    ],
)
def test_a_file_that_is_not_whole_is_compared_with_nothing(
    operator: Operator, content: bytes, said: str
):
    result = reconcile(operator, content)
    assert (result.code, result.out) == (3, "")
    assert said in result.err
    assert "Nothing was compared." in result.err


@posix_shell
@pytest.mark.fault(
    55,
    injection="a distributor's file is a device that never ends",
    outcome="it is refused at once, exit 3",
)
def test_a_device_is_no_file(operator: Operator):
    result = reconcile(operator, Path("/dev/zero"))
    assert (result.code, "not a regular file" in result.err) == (3, True)


@pytest.mark.fault(
    54,
    injection="customers and articles of a distributor's file with markup, escape codes and formulas",
    outcome="they stay text on the screen, in CSV and on the page, and each row is told",
)
def test_hostile_names_of_a_distributors_file_stay_text(operator: Operator):
    rows = '=1+1\x1b[2J<script>x</script>;@SUM(1)\u202e;5\r\n"-2\n3";|;7\r\n'
    for form in ("table", "csv", "html"):
        result = reconcile(operator, (HEADINGS + rows).encode(), "--format", form)
        assert result.code == 6
        assert not {"\x1b", "\u202e"} & {*result.out}
        assert "<script>x" not in result.out or form != "html"
        assert ",=1" not in result.out
        assert ",@SUM" not in result.out
    found = json.loads(reconcile(operator, (HEADINGS + rows).encode(), "--json").out)
    assert found["rows"] == {"read": 2, "matched": 0, "unmatched": 2, "ignored": 0}
    assert found["totals"]["unmatched"] == {"quantity": 12, "amount": None}
