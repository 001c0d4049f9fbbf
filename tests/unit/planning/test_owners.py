from dataclasses import replace

import pytest

from kisi.model import AgreementRef, Company, TenantRef
from kisi.planning import attribute
from tests.unit.build import COMPANY, REF, fact

MINE = fact("1200", 5)
ELSEWHERE = TenantRef("hq", "VSRV-9")


def client(name, agreement, *tenants, company="250", billing=True):
    refs = tuple(TenantRef("hq", tenant) for tenant in tenants)
    return Company(name, refs, "cw", company, agreement, billing)


def line(agreement, *tenants, name="Contoso"):
    refs = tuple(TenantRef("hq", tenant) for tenant in tenants)
    return replace(fact("1200", 9, f"of-{agreement}", agreement=agreement), tenants=refs, name=name)


def owners(companies, *facts):
    """The owned lines' agreements by the agreement of their client."""
    found = attribute(companies, facts)
    return {ref.agreement: [one.agreement for one in own] for ref, own in found.own.items()}


def test_a_line_belongs_to_the_client_of_its_agreement():
    found = attribute([COMPANY], [MINE])
    assert (dict(found.own), found.left) == ({REF: (MINE,)}, ())


def test_a_line_belongs_to_the_client_of_its_agreement_whoever_has_its_tenants():
    moved = replace(COMPANY, name="Branch", company="251", agreement="2000")
    taker = replace(COMPANY, tenants=(ELSEWHERE,))
    assert list(attribute([moved, taker], [MINE]).own) == [REF]


@pytest.mark.parametrize(
    "moved",
    [
        replace(COMPANY, agreement="2000"),
        replace(COMPANY, agreement="2000", company="251"),
        replace(COMPANY, agreement="2000", tenants=(ELSEWHERE,)),
        replace(COMPANY, agreement="2000", tenants=(ELSEWHERE,), name="Contoso Ltd"),
    ],
)
def test_a_line_follows_a_client_whose_agreement_or_company_was_changed(moved):
    assert list(attribute([moved], [MINE]).own) == [AgreementRef("cw", moved.company, "2000")]


def test_lines_of_unmapped_clients_and_of_those_with_billing_off_are_left():
    stranger = Company("Else", (TenantRef("hq", "VSRV-7"),), "cw", "9", "99")
    off = replace(COMPANY, billing=False)
    assert attribute([stranger], [MINE]).left == (MINE,)
    assert attribute([off], [MINE]).left == (MINE,)


@pytest.mark.parametrize("turned", [False, True])
def test_of_two_clients_of_a_company_it_follows_the_one_with_its_tenants(turned):
    berlin, munich = client("Berlin", "1", "b"), client("Munich", "3", "m")
    rows = [munich, berlin] if turned else [berlin, munich]
    lines = line("1", "b", name="Berlin"), line("2", "m", name="Munich")
    assert owners(rows, *lines) == {"1": ["1"], "3": ["2"]}


def test_a_line_of_a_client_that_was_taken_out_is_not_its_neighbours():
    """Two clients of one company in the PSA, each with its own agreement; one is unmapped."""
    berlin = line("1", "b", name="Berlin")
    munich = line("2", "m", name="Munich")
    found = attribute([client("Berlin", "1", "b")], [berlin, munich])
    assert found.left == (munich,)


def test_with_a_new_tenant_too_it_follows_the_name_or_who_has_nothing_yet():
    berlin, moved = client("Berlin", "1", "b"), client("Munich", "3", "new")
    lines = line("1", "b", name="Berlin"), line("2", "m", name="Munich")
    assert owners([berlin, moved], *lines) == {"1": ["1"], "3": ["2"]}
    begins = replace(moved, name="Bavaria")
    assert owners([berlin, begins], *lines) == {"1": ["1"], "3": ["2"]}


def test_where_a_client_was_split_the_first_plans_its_line():
    """The others wait for it because they share its tenants' pools."""
    first, second = client("North", "2", "n"), client("South", "3", "s")
    old = line("1", "n", "s")
    assert owners([first, second], old) == {"2": ["1"]}
    assert owners([second, first], old) == {"3": ["1"]}
    assert owners([replace(first, billing=False), second], old) == {"3": ["1"]}


def test_a_line_of_a_row_that_is_off_is_nobodys_also_where_its_tenant_is_billed_elsewhere():
    """Whoever bills that tenant more waits for it, and it is not set to 0 behind that row's back."""
    off, now = client("Old", "1", "t", billing=False), client("New", "2", "t")
    assert attribute([off, now], [line("1", "t")]).left == (line("1", "t"),)
    other = client("Other", "2", "x")
    assert attribute([off, other], [line("1", "gone")]).left == (line("1", "gone"),)


def test_a_line_without_a_row_whose_tenants_are_off_is_nobodys():
    off, same = client("Old", "1", "t", billing=False), client("Contoso", "3", "x")
    assert attribute([off, same], [line("9", "t")]).left == (line("9", "t"),)


def test_what_belongs_to_nobody_hides_nothing_that_belongs_to_somebody():
    stranger, mine = replace(line("9", "z"), company="9"), line("1", "b")
    found = attribute([client("Berlin", "1", "b")], [stranger, mine])
    assert ([*found.own.values()], found.left) == ([(mine,)], (stranger,))
