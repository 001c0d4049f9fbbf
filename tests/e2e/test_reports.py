"""Reports as the consoles export them are billed right: of one company, without headings, in 1251.

The first ones are the files of examples/reports, read with the configuration beside them.
"""

from __future__ import annotations

import tomllib
from datetime import timedelta
from pathlib import Path

import pytest

from kisi.sandbox.configuration import Part, Report, company_row
from tests.e2e.conftest import Operator

EXAMPLE = Path(__file__).parents[2] / "examples" / "reports"
CLOUD = "Kaspersky Endpoint Security Cloud"


def export(operator: Operator, section: str, mapping: str, **files: bytes) -> None:
    """Reports of an hour ago, in `exports`, each with `.csv` after its name."""
    made = operator.world.now() - timedelta(hours=1)
    reports = [Report(f"exports/{name}.csv", content, made) for name, content in files.items()]
    operator.sandbox.add(Part("reports", config=section, mapping=mapping, reports=lambda: reports))


def quantities(operator: Operator, agreement: int) -> dict[str, float | None]:
    """What an agreement bills, by product."""
    world = operator.world
    lines = world.additions(agreement)
    return {world.catalog[line.product_id].identifier: line.quantity for line in lines}


# --- examples/reports -----------------------------------------------------------------------------


@pytest.fixture
def example(operator: Operator) -> Operator:
    """The example's sources and mapping, before a PSA that has its companies."""
    text = (EXAMPLE / "kisi.toml").read_text(encoding="utf-8")
    sources = text[text.index("[sources") : text.index("[psa")]
    mapping = (EXAMPLE / "mapping.toml").read_text(encoding="utf-8")
    rows = tomllib.loads(mapping)
    for product in rows["product"]:
        assert operator.world.product(product["application"]).id == product["all"]
    for row in rows["company"]:
        company = operator.world.company(row["name"])
        agreement = operator.world.agreement(company)
        assert (company.id, agreement.id) == (row["company"], row["agreement"])
    exports = {path.stem: path.read_bytes() for path in (EXAMPLE / "exports").iterdir()}
    export(operator, sources, mapping, **exports)
    return operator


def test_the_reports_of_the_example_are_billed(example):
    result = example.sync()

    assert result.code == 0, result.err
    assert quantities(example, 1042) == {
        "Kaspersky Next EDR Foundations": 48,
        "Kaspersky Managed Detection and Response": 4,
    }
    assert quantities(example, 1043) == {
        "Kaspersky Next EDR Foundations": 12,
        "Kaspersky Next EDR Optimum": 5,
        "Kaspersky Managed Detection and Response": 2,
        "Kaspersky Security for Virtualization": 2,  # one of them in two periods
    }
    assert quantities(example, 1044) == {"Kaspersky Security for Virtualization": 2}
    assert result.document["unmapped"]["tenants"] == []
    example.next_night()
    assert example.sync().writes == []


def test_each_machine_and_period_of_the_example_is_explained(example):
    example.sync()

    told = example.run("explain", "Lamna", "--format", "csv").out

    machines = [line for line in told.splitlines() if "Virtualization" in line]
    assert sum("web-01" in line for line in machines) == 1
    assert sum("db-01" in line for line in machines) == 1


def test_check_shows_the_encoding_of_each_report(example):
    result = example.run("check", "--online")

    shown = "".join(result.out.split())  # a long path is broken anywhere
    assert "ksv-2026-11-20.csv,1hold,incp1252." in shown
    assert "next-optimum-2026-11-20.csv,1hold,inutf-8." in shown


# --- one company, one application -----------------------------------------------------------------

DEVICES = "Device,Status,Operating system\r\nPC-1,Critical,Windows 11\r\nPC-2,OK,macOS 15\r\n"
ONE_COMPANY = f"""\
[sources.hub]
kind = "business-hub"
files = [
    {{ pattern = "exports/contoso-*.csv", company = "Contoso", application = "{CLOUD}" }},
    {{ pattern = "exports/lamna-*.csv", company = "Lamna", application = "{CLOUD}" }},
]
[sources.hub.columns]
operating_system = "Operating system"
status = ""
"""


def two_clients(operator: Operator) -> tuple[str, int, int]:
    """Their rows of mapping.toml, and their agreements."""
    operator.bill_as_one(CLOUD)
    rows, agreements = [], []
    for name in ("Contoso", "Lamna"):
        company = operator.world.company(name)
        agreement = operator.world.agreement(company)
        agreements.append(agreement.id)
        rows.append(
            company_row(name, [f"hub:{name}"], psa="cw", company=company.id, agreement=agreement.id)
        )
    return "".join(rows), *agreements


def test_reports_of_one_company_each_are_that_companys(operator):
    mapping, contoso, lamna = two_clients(operator)
    more = DEVICES + "PC-3,OK,Windows 11\r\n"
    files = {"contoso-1": DEVICES.encode(), "lamna-1": more.encode()}
    export(operator, ONE_COMPANY, mapping, **files)

    assert operator.sync().code == 0

    assert list(quantities(operator, contoso).values()) == [2]
    assert list(quantities(operator, lamna).values()) == [3]


def test_a_missing_company_column_is_told_with_the_way_to_say_it(operator):
    mapping, contoso, _ = two_clients(operator)
    section = ONE_COMPANY.replace('company = "Contoso", ', "")
    files = {"contoso-1": DEVICES.encode(), "lamna-1": DEVICES.encode()}
    export(operator, section, mapping, **files)

    result = operator.sync()

    assert (result.code, quantities(operator, contoso)) == (4, {})
    assert 'it has no column company ("company")' in result.company("Contoso")["reason"]
    said = " ".join(operator.run("preview").out.split())
    assert 'files = [{ pattern = "...", company = "..."' in said


# --- without headings, and in a code page ---------------------------------------------------------

NO_HEADINGS = f"""\
[sources.hub]
kind = "business-hub"
files = [{{ pattern = "exports/*.csv", application = "{CLOUD}" }}]
headings = ["", "company", "quantity"]
"""


def test_a_report_without_headings_is_billed_from_its_first_line(operator):
    mapping, contoso, lamna = two_clients(operator)
    export(operator, NO_HEADINGS, mapping, report=b"1;Contoso;7\r\n2;Lamna;9\r\n")

    assert operator.sync().code == 0

    assert list(quantities(operator, contoso).values()) == [7]
    assert list(quantities(operator, lamna).values()) == [9]


CODE_PAGE = """\
[sources.hub]
kind = "business-hub"
files = ["exports/*.csv"]
"""


def one_client(operator: Operator, mapped_as: str) -> tuple[str, int]:
    operator.bill_as_one(CLOUD)
    company = operator.world.company("Ромашка")
    agreement = operator.world.agreement(company)
    numbers = {"psa": "cw", "company": company.id, "agreement": agreement.id}
    return company_row("Ромашка", [f"hub:{mapped_as}"], **numbers), agreement.id


@pytest.mark.parametrize(
    ("page", "name"),
    [("cp1251", "ООО Ромашка и Ко"), ("cp1250", "Soukeník Dvořák"), ("cp1252", "Müller François")],  # noqa: RUF001
)
def test_a_report_of_a_code_page_finds_its_client(operator, page, name):
    mapping, agreement = one_client(operator, name)
    text = f"company;application;quantity\r\n{name};{CLOUD};11\r\n"
    export(operator, CODE_PAGE, mapping, report=text.encode(page))

    assert operator.sync().code == 0

    assert list(quantities(operator, agreement).values()) == [11]
    assert f", in {page}." in " ".join(operator.run("check", "--online").out.split())
