"""Who and what is meant by a row, what differs, and what it is worth."""

from __future__ import annotations

from decimal import Decimal

import pytest

from kisi.model import Application, BillingMapping, Company, TenantRef
from kisi.purchases.compare import Compared, Known, compare
from kisi.purchases.file import Purchase, PurchaseFile


def company(name: str, *purchased_as: str, number: int = 1) -> Company:
    ref = (TenantRef("hq", f"V{number}"),)
    return Company(name, ref, "cw", str(number), str(number), purchased_as=purchased_as)


APPLICATIONS = (
    Application("KES", articles=("KL48*", "Endpoint *")),
    Application("KES Server", articles=("KL4867SRV*",)),
    Application("Mail", bill=False),
)


def compared(*companies: Company, known: dict[str, Known] | None = None, **row: str) -> Compared:
    units = Decimal(row.pop("quantity", "5"))
    texts = {"customer": "Contoso", "article": "KL4801", "name": "", **row}
    rows = (Purchase(2, quantity=units, amount=units * 3, **texts),)
    file = PurchaseFile("a.csv", "utf-8", ";", "", rows, (), 0)
    mapping = BillingMapping(APPLICATIONS, (), companies)
    return compare(file, "nord", "2026-11", mapping, known or {})


@pytest.mark.parametrize("customer", ["Contoso AG", "CONTOSO", " contoso  ag ", "Contoso GmbH"])
def test_a_client_is_known_by_its_names_on_the_invoice_or_its_own(customer):
    for row in (company("Contoso"), company("The client", "Contoso AG")):
        (one,) = compared(row, customer=customer).companies
        assert (one.company, one.bought) == (row.name, 5)


def test_the_exact_name_is_before_one_that_is_alike():
    rows = company("Contoso AG"), company("Contoso GmbH", number=2)
    assert compared(*rows, customer="Contoso GmbH").companies[0].company == "Contoso GmbH"
    (row,) = compared(*rows, customer="Contoso Ltd").unmatched
    assert row.problem == "its customer may be Contoso AG or Contoso GmbH"


@pytest.mark.parametrize(
    ("texts", "application"),
    [
        ({"article": "KL4801"}, "KES"),
        ({"article": "kl4867srv1"}, "KES Server"),
        ({"article": "", "name": "Endpoint Security"}, "KES"),
        ({"article": "X", "name": "Mail Protection"}, "Mail"),
    ],
)
def test_an_article_is_known_by_its_number_or_name(texts, application):
    assert compared(company("Contoso"), **texts).companies[0].application == application


def test_what_matches_nothing_is_told_with_what_it_may_be():
    (row,) = compared(company("Contoso Logistics"), customer="Contosso Logistic").unmatched
    assert row.problem == "its customer is not known"
    assert row.suggestions == ("purchased_as of Contoso Logistics",)
    (row,) = compared(company("Contoso"), article="Z", name="The mail").unmatched
    assert (row.problem, row.suggestions) == ("its article is not known", ("articles of Mail",))
    for empty in ({"customer": ""}, {"customer": "..."}, {"article": ""}):
        assert len(compared(company("Contoso"), **empty).unmatched) == 1


def known(
    licensed: int = 9, used: int = 5, billed: int | None = 5, **more: str
) -> dict[str, Known]:
    units = None if billed is None else Decimal(billed)
    money = None if billed is None else Decimal(4) * billed
    lines = {"KES": (units, money, "a month")}
    return {"Contoso": Known({"KES": licensed}, {"KES": used}, lines, **more)}


@pytest.mark.parametrize(
    ("facts", "differs", "worth"),
    [
        (known(), False, 0),
        (known(licensed=5), False, 0),
        (known(licensed=4), True, 0),
        (known(used=6), True, 0),
        (known(billed=3), True, 6),
        (known(billed=8), True, -9),
        (known(billed=None), False, None),
    ],
)
def test_what_differs_and_what_it_is_worth(facts, differs, worth):
    (one,) = compared(company("Contoso"), known=facts).companies
    assert (one.differs, one.worth, one.cost) == (differs, worth, 15)


def test_what_is_not_known_is_no_zero_and_says_why():
    (one,) = compared(company("Contoso")).companies
    assert (one.billed, one.differs, one.note) == (None, True, "no run has read it yet")
    off = {"Contoso": Known({}, {}, {}, "billing is off")}
    assert compared(company("Contoso"), known=off).companies[0].note == "billing is off"
    by_hand = {"Contoso": Known({}, {}, {}, by_hand=frozenset({"KES"}))}
    (one,) = compared(company("Contoso"), known=by_hand).companies
    assert (one.billed, one.note) == (None, "people manage its lines")
    seen = {"Contoso": Known({}, {}, {})}
    (one,) = compared(company("Contoso"), known=seen).companies
    assert (one.billed, one.difference, one.note) == (0, 5, "")


def test_an_application_that_is_never_billed_is_no_difference():
    seen = {"Contoso": Known({}, {}, {})}
    (one,) = compared(company("Contoso"), known=seen, article="", name="Mail").companies
    assert (one.bought, one.billed, one.differs) == (5, None, False)


def test_what_is_billed_and_not_bought_is_worth_what_others_pay():
    facts = known() | {"Fabrikam": Known({}, {"KES": 7}, {"KES": (Decimal(7), None, "")})}
    rows = company("Contoso"), company("Fabrikam", number=2)
    first, second = compared(*rows, known=facts).companies
    assert (first.company, first.bought, first.difference, first.worth) == ("Fabrikam", 0, -7, -21)
    assert second.company == "Contoso"
