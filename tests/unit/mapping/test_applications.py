from __future__ import annotations

from fnmatch import fnmatch

import pytest

from kisi.mapping.similarity import suggest_products
from kisi.mapping.suggestions import (
    PER_USER_OR_DEVICE,
    application_of,
    group_key_names,
)
from kisi.model import Category, Unit

ADVANCED = "Kaspersky Endpoint Security for Business - Advanced"
PRODUCTS = {
    "1": "KESB-ADV-WS Kaspersky Endpoint Security Business Advanced Workstation",
    "2": "KESB Advanced Server",
    "3": "Kaspersky Endpoint Security Business Advanced non-Windows",
    "4": "KESB Select",
    "5": "Microsoft 365 Business Premium",
    "6": "KESB Advanced Workstation + Server",
    "7": "Server monitoring",
    "8": "Kaspersky Security Mail Server",
}


@pytest.mark.parametrize(
    ("key_name", "application"),
    [
        (f"{ADVANCED}. 50 Node 1 year Base License", ADVANCED),
        (f"{ADVANCED} Subscription MSP", ADVANCED),
        (f"{ADVANCED} European Edition. 50-99 Node 2 year Educational Renewal License", ADVANCED),
        (f"{ADVANCED} Russian Edition", ADVANCED),
        ("Kaspersky Security for Microsoft Office 365 European Edition. 10-14 MailAddress 1 year Base License",
         "Kaspersky Security for Microsoft Office 365"),
        ("Kaspersky EDR Optimum Add-on. 20 Node", "Kaspersky EDR Optimum Add-on"),
        ("Kaspersky Total Security for Business 2 year Public Sector Renewal License",
         "Kaspersky Total Security for Business"),
        ("License", "License"),
        ("Base License", "Base License"),
    ],
)  # fmt: skip
def test_an_application_is_what_stands_before_the_quantity_and_the_kind_of_licence(
    key_name, application
):
    assert application_of(key_name) == application


def test_key_names_are_grouped_and_every_one_fits_a_glob_of_its_group():
    names = [
        f"{ADVANCED}. 50 Node 1 year Base License",
        f"{ADVANCED} Subscription MSP",
        "Kaspersky Endpoint Security for Business Advanced",
        f"{ADVANCED.upper()} NFR License",
        "Kaspersky Endpoint Security Cloud",
        " ",
    ]
    cloud, advanced = group_key_names(names)
    assert cloud.application.name == "Kaspersky Endpoint Security Cloud"
    assert advanced.application.name == ADVANCED
    assert len(advanced.application.keys) == 2
    for group in (cloud, advanced):
        for name in group.seen:
            assert any(fnmatch(name.casefold(), glob.casefold()) for glob in group.application.keys)


@pytest.mark.parametrize(
    ("key_name", "unit"),
    [
        ("Kaspersky Security for Microsoft Office 365", Unit.MAILBOX),
        ("Kaspersky Endpoint Security Cloud Plus, User", Unit.USER),
        ("Kaspersky Endpoint Security Cloud. 10-14 User; 20-28 Mobile device 1 year", Unit.USER),
        ("Kaspersky Endpoint Security Cloud. 10-14 Node 1 year Base License", Unit.DEVICE),
        (ADVANCED, Unit.DEVICE),
    ],
)
def test_the_unit_is_told_by_the_words(key_name, unit):
    (group,) = group_key_names([key_name])
    assert (group.application.unit, group.doubt) == (unit, "")


@pytest.mark.parametrize("others", [[], ["Kaspersky Endpoint Security Cloud Plus. 10-14 Node"]])
def test_a_name_that_may_be_per_user_or_per_device_leaves_a_doubt(others):
    (group,) = group_key_names(["Kaspersky Endpoint Security Cloud Plus", *others])
    assert (group.application.unit, group.doubt) == (Unit.USER, PER_USER_OR_DEVICE)


def test_products_are_suggested_with_the_category_their_name_speaks_of():
    found = {suggestion.id: suggestion for suggestion in suggest_products(ADVANCED, PRODUCTS)}
    assert found["1"].category is Category.WINDOWS_WORKSTATIONS
    assert found["2"].category is Category.WINDOWS_SERVERS
    assert found["3"].category is Category.NON_WINDOWS
    assert found["6"].category is Category.ALL
    assert "windows_servers" in found["2"].reason
    assert {"5", "7"}.isdisjoint(found)
    assert "4" not in found or found["4"].score < found["2"].score


def test_initials_and_shortened_words_stand_for_the_application():
    assert suggest_products(ADVANCED, {"1": "KESB Adv", "2": "Printer"})[0].score == 1.0


def test_a_word_of_the_application_itself_is_no_category():
    best = suggest_products("Kaspersky Security for Mail Server", PRODUCTS)[0]
    assert (best.id, best.category) == ("8", Category.ALL)
