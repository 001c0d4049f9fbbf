"""Who has a tenant on which day, and the rows that say so."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from kisi.mapping.changes import MappingEdit
from kisi.mapping.file import ConfigNames
from kisi.model import BillingMapping, Company, IgnoredTenant, Tenant, TenantRef, unmapped_tenants
from tests.unit.build import COMPANY, TODAY

NAMES = ConfigNames(["hq"], ["cw"])
TENANTS = [TenantRef("hq", f"T{number}") for number in range(3)]
DAYS = st.none() | st.integers(-3, 3).map(lambda days: TODAY + timedelta(days=days))


def company(number: int, *tenants: TenantRef, **more: object) -> Company:
    return Company(f"C{number}", tenants, "cw", f"{number}", f"{number}", **more)


@st.composite
def rows(draw) -> tuple[Company, ...]:
    """Rows as mapping.toml may have them: no tenant in more than two, nor twice to the same day."""
    found, ends = [], {ref: [] for ref in TENANTS}
    for number in range(4):
        until = draw(DAYS)
        mine = draw(st.lists(st.sampled_from(TENANTS), min_size=1, max_size=2, unique=True))
        mine = [ref for ref in mine if len(ends[ref]) < 2 and until not in ends[ref]]
        for ref in mine:
            ends[ref].append(until)
        if mine:
            found.append(company(number, *mine, until=until))
    return tuple(found)


@given(rows(), st.integers(-5, 5))
def test_on_each_day_a_tenant_is_counted_for_who_leaves_first_of_those_who_have_it(clients, days):
    today = TODAY + timedelta(days=days)
    counted = Counter()
    for before, now in zip(
        clients, BillingMapping(companies=clients).on(today).companies, strict=True
    ):
        assert now.left == (before.until is not None and before.until < today)
        assert not (now.left and now.counted)
        assert now.tenants
        if now.billing:
            counted.update(now.counted)
            for ref in now.counted:
                others = [each.until for each in clients if ref in each.tenants]
                stay = [day or date.max for day in others if day is None or day >= today]
                assert (before.until or date.max) == min(stay)
        else:
            assert now.begins is not None
            assert now.begins > today
    named = {
        ref for each in clients for ref in each.tenants if each.until is None or each.until >= today
    }
    assert counted == Counter(named)


def test_a_row_with_billing_off_has_its_tenants_and_keeps_nobody_from_them():
    off = company(1, TENANTS[0], billing=False, until=TODAY)
    other = company(2, TENANTS[0])
    assert BillingMapping(companies=(off, other)).on(TODAY).companies == (off, other)


def test_an_ignored_tenant_is_not_unmapped_whichever_source_lists_it():
    mapping = BillingMapping(
        ignored=(IgnoredTenant(TenantRef("hq", "VSRV-9"), "lab"),),
        global_sources=frozenset({"hq", "new"}),
    )
    tenants = [Tenant(TenantRef(source, "vsrv-9"), "Lab") for source in ("hq", "new", "hub")]
    assert [tenant.ref.source for tenant in unmapped_tenants(mapping, tenants)] == ["hub"]


def test_rows_of_tenants_come_change_and_go_and_nothing_else_does():
    text = '# ours\n[[company]]\nname = "Contoso"\ntenants = ["hq:VSRV-1"]\ncompany = 250\n'
    text += "agreement = 1042  # since 2019\n"
    mapping = BillingMapping(companies=(COMPANY,))
    edit = MappingEdit(text, mapping, NAMES)
    edit.ignore_tenant(IgnoredTenant(TENANTS[0], "our own"))
    change = edit.change()
    added = '\n[[tenant]]\nid = "hq:T0"\nbill = false\nnote = "our own"\n'
    assert change.text == text + added
    assert change.done == ('Tenant "hq:T0" is never billed (our own).',)

    ignored = BillingMapping(companies=(COMPANY,), ignored=(IgnoredTenant(TENANTS[0], "our own"),))
    edit = MappingEdit(change.text, ignored, NAMES)
    edit.ignore_tenant(IgnoredTenant(TENANTS[0]))  # says it again, without a note
    assert edit.change().text == change.text
    edit.ignore_tenant(IgnoredTenant(TENANTS[0], "a lab"))
    assert edit.change().text == text + added.replace("our own", "a lab")
    edit.heed_tenant(TENANTS[0])
    assert edit.change().text.rstrip() == text.rstrip()
