"""The page "Before you invoice": what it shows is what a month's end prints, and what is billed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from kisi.sandbox.world import APPLICATION, Client
from tests.e2e.conftest import Operator, Result

PAGE = Path(__file__).parents[2] / "docs" / "before-you-invoice.md"
INVOICES = """
[invoices.distributor.columns]
customer = "Customer"
article = "Article"
quantity = "Licences"
price = "Price"
"""
FILE = f"""Invoice 4711;November 2026;;
Customer;Article;Licences;Price
Contoso GmbH;{APPLICATION};95;3,20
Fabrikam Inc.;{APPLICATION};54;3,20
Northwind Traders;{APPLICATION};31;3,20
Litware;{APPLICATION};18;3,20
Prosware Ltd;{APPLICATION};12;3,20
Total;;210;
"""


def november(operator: Operator) -> dict[str, Client]:
    """Thirty nights: a peak, a key that ends on the 28th, one that ends soon, nobody's tenant."""
    operator.move_to(datetime(2026, 11, 1, 6, 30, tzinfo=UTC))
    operator.more = INVOICES
    operator.bill_as_one()
    sizes = {"Contoso": 90, "Fabrikam": 34, "Northwind Traders": 30, "Litware": 12}
    clients = {name: operator.client(name, workstations=n) for name, n in sizes.items()}
    clients["Contoso"].exceptions.append({"application": APPLICATION, "count": "peak"})
    for name, devices, ends in (
        ("Fabrikam", 20, date(2026, 11, 28)),
        ("Litware", 6, date(2026, 12, 12)),
    ):
        at = datetime.combine(ends, datetime.min.time(), UTC)
        clients[name].add_devices(
            n=devices, key=clients[name].key(kind="commercial", limit_date=at)
        )
        clients[name].agreement.next_invoice_date = date(2026, 12, 1)
    for client in clients.values():
        client.agreement.next_invoice_date = date(2026, 12, 1)
    operator.world.tenant("Proseware", workstations=12)
    assert operator.sync().code == 0
    for line in operator.world.lines.values():
        line.unit_price = 4.5
    for day in range(2, 31):
        operator.next_night()
        if day == 16:
            clients["Contoso"].add_devices(n=5)
        if day == 20:
            clients["Contoso"].remove_devices(4)
        if day == 23:
            clients["Northwind Traders"].add_devices(n=1)
        assert operator.sync().code == (6 if day >= 28 else 0)
    (operator.folder / "distributor-2026-11.csv").write_text(FILE, encoding="utf-8")
    operator.by_hand()
    return clients


def commands(page: str) -> Iterator[tuple[Sequence[str], Sequence[str]]]:
    """Each command of the page, and the parts of what it prints; `...` stands for what is cut."""
    for block in re.findall(r"^```\n\$ kisi (.*?)^```", page, re.MULTILINE | re.DOTALL):
        typed, _, shown = block.partition("\n")
        yield shlex.split(typed), re.split(r"^\.\.\.$", shown, flags=re.MULTILINE)


def words(text: str) -> str:
    """A text however its lines are broken, and whatever its ids are."""
    return " ".join(re.sub(r"(plan|--accept|run:) [0-9a-f]{8}\b", r"\1 ID", text).split())


@pytest.mark.slow
def test_a_month_end_as_the_page_shows_it(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    clients = november(operator)
    monkeypatch.chdir(operator.folder)
    held: list[object] = []
    result = Result(0, "", "", ())
    for arguments, shown in commands(PAGE.read_text(encoding="utf-8")):
        if "--accept" in arguments:
            offered = re.search(r"--accept ([0-9a-f]{8})", result.out)
            assert offered is not None
            arguments = [*arguments[:-1], offered[1]]  # noqa: PLW2901
        result = operator.run(*arguments)
        for part in shown:
            assert words(part) in words(result.out + " " + result.err), arguments
        held.append(next(iter(clients["Fabrikam"].quantities.values())))
    assert held == [54, 54, 54, 34, 34, 34, 54, 54, 54]
    assert result.code == 0
    assert [*clients["Contoso"].quantities.values()] == [95]
