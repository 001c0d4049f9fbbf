"""Reports of files that are not what the configuration takes them for bill nobody."""

from __future__ import annotations

import pytest

from tests.e2e.test_reports import (
    CLOUD,
    CODE_PAGE,
    DEVICES,
    NO_HEADINGS,
    ONE_COMPANY,
    export,
    one_client,
    quantities,
    two_clients,
)


@pytest.mark.fault(
    14,
    injection="the newest report of two patterns of `files` is one, and they give it to two companies",
    outcome="exit 4 with both patterns, nothing written",
)
def test_a_report_that_two_patterns_give_to_two_companies_is_nobodys(operator):
    mapping, contoso, lamna = two_clients(operator)
    section = ONE_COMPANY.replace("exports/lamna-*", "exports/*")
    export(operator, section, mapping, **{"contoso-1": DEVICES.encode()})

    result = operator.sync()

    assert result.code == 4
    assert quantities(operator, contoso) == quantities(operator, lamna) == {}
    reason = result.company("Lamna")["reason"]
    assert 'the newest of "exports/contoso-*.csv" and of "exports/*.csv"' in reason


@pytest.mark.fault(
    14,
    injection="a report has a line of headings where `headings` says that it has none",
    outcome="exit 4 with the line and the remedy, nothing written",
)
def test_headings_where_none_were_expected_bill_nobody(operator):
    mapping, contoso, _ = two_clients(operator)
    export(operator, NO_HEADINGS, mapping, report=b"id;Company;Quantity\r\n1;Contoso;7\r\n")

    result = operator.sync()

    assert (result.code, quantities(operator, contoso)) == (4, {})
    assert "line 1: it is a line of headings" in result.company("Contoso")["reason"]


@pytest.mark.fault(
    54,
    injection="a report is in a code page that its letters do not tell",
    outcome="`check --online` says which others it might be; the client fails, exit 4, and is "
    "billed once `encoding` is set",
)
def test_a_code_page_that_letters_do_not_tell_can_be_set(operator):
    name = "Soukenička"
    mapping, agreement = one_client(operator, name)
    text = f"company;application;quantity\r\n{name};{CLOUD};11\r\n"
    export(operator, CODE_PAGE, mapping, report=text.encode("cp1250"))

    operator.by_hand()
    wrong = operator.sync()
    told = " ".join(operator.run("check", "--online").out.split())
    operator.config.write_text(
        operator.config.read_text(encoding="utf-8").replace(
            'kind = "business-hub"', 'kind = "business-hub"\nencoding = "cp1250"'
        ),
        encoding="utf-8",
    )
    assert (wrong.code, quantities(operator, agreement)) == (4, {})
    assert "in cp1252; by its letters it might be cp1250" in told
    assert operator.sync().code == 0
    assert list(quantities(operator, agreement).values()) == [11]


@pytest.mark.fault(
    54,
    injection="a company of a report differs from the mapping in case, accents or blanks alone",
    outcome="not billed, exit 4, and the report's spelling is named",
)
@pytest.mark.parametrize("reported", ["ROMASKA  GmbH", "Romáška GmbH", "RomaškaGmbH"])
def test_a_company_that_differs_in_case_accents_or_blanks_is_hinted_at_and_not_billed(
    operator, reported
):
    mapping, agreement = one_client(operator, "Romaška GmbH")
    text = f"company;application;quantity\r\n{reported};{CLOUD};11\r\n"
    export(operator, CODE_PAGE, mapping, report=text.encode())

    result = operator.sync()

    assert (result.code, quantities(operator, agreement)) == (4, {})
    reason = result.company("Ромашка")["reason"]
    assert f'It has "{reported}", and the mapping "Romaška GmbH"' in reason
    assert "they differ in case, accents or blanks alone" in reason
    told = " ".join(operator.run("check", "--online").out.split())
    assert "they differ in case, accents or blanks alone" in told
