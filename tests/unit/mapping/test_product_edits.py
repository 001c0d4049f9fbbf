from __future__ import annotations

import pytest

from kisi.errors import ConfigError
from kisi.mapping.changes import MappingEdit
from kisi.mapping.toml_edit import toml_id
from kisi.model import SPLIT, Application, Category, ProductRow, Unit
from tests.unit.mapping.sides import changed

TEXT = """\
[[application]]
name = "KES"      # our name

[[application]]
name = "Mail"
keys = ["Mail*"]
bill = false

[[product]]
application = "KES"
all = 1200        # flat

[[company]]
name = "Contoso"
tenants = ["hq:V1"]
company = 250
agreement = 1042
[[company.product]]   # contract 17
application = "KES"
all = 1250
[[company.product]]   # by hand
application = "Mail"
bill = false
"""
BY_CATEGORY = ProductRow("KES", "cw", dict(zip(SPLIT, ("1", "2", "3"), strict=True)))


@pytest.fixture
def draft(sides):
    return sides.editor(TEXT)


def exception(application="KES", product="1300", **more):
    products = {Category.ALL: product} if product else {}
    return ProductRow(application, "cw", products, **more)


@pytest.mark.parametrize(
    ("ident", "written"),
    [("250", 250), ("0", "0"), ("007", "007"), ("KES", "KES"), ("²", "²"), ("9" * 19, "9" * 19)],
)
def test_an_id_is_a_number_only_where_nothing_is_lost(ident, written):
    assert toml_id(ident) == written


def test_an_application_is_found_by_name_in_any_case(draft):
    rows = draft.edit()
    assert rows.the_application("mail") is draft.mapping.applications[1]
    assert rows.the_application("kes").name == "KES"
    with pytest.raises(ConfigError, match=r'no .*"Male"; did you mean "Mail"'):
        rows.the_application("Male")


def test_a_new_application_has_only_the_keys_that_say_something(draft):
    change = changed(draft, MappingEdit.set_application, Application("EDR", ("EDR*",), Unit.DEVICE))
    assert '\n[[application]]\nname = "EDR"\n\n' in change.text
    change = changed(
        draft,
        MappingEdit.set_application,
        Application("Cloud", ("A*", "B*"), Unit.USER, bill=False),
    )
    assert 'name = "Cloud"\nkeys = ["A*", "B*"]\nunit = "user"\nbill = false\n' in change.text
    assert change.done == ('Added application "Cloud", never billed.',)


def test_an_application_is_changed_in_place(draft):
    change = changed(
        draft, MappingEdit.set_application, Application("mail", ("Mail*", "Post*"), Unit.MAILBOX)
    )
    expected = TEXT.replace('["Mail*"]', '["Mail*", "Post*"]')
    expected = expected.replace("bill = false\n", 'bill = true\nunit = "mailbox"\n', 1)
    assert sorted(change.text.splitlines()) == sorted(expected.splitlines())
    assert changed(draft, MappingEdit.set_application, draft.mapping.applications[1]).text == TEXT


def test_a_product_row_is_turned_from_one_product_to_three_and_back(draft, sides):
    draft = sides.editor(TEXT.replace("        # flat", ""))
    three = changed(draft, MappingEdit.set_product, BY_CATEGORY)
    assert "all = 1200" not in three.text
    assert three.products == (BY_CATEGORY,)
    assert "Before: 1200" in three.done[0]
    back = changed(sides.editor(three.text), MappingEdit.set_product, draft.mapping.products[0])
    assert sides.editor(back.text).mapping == draft.mapping
    assert changed(draft, MappingEdit.set_product, draft.mapping.products[0]).text == draft.text


def test_a_comment_behind_a_product_that_must_go_is_not_thrown_away(draft):
    with pytest.raises(ConfigError, match="line 11: all must go, and the comment behind it"):
        changed(draft, MappingEdit.set_product, BY_CATEGORY)


def test_a_first_product_row_is_added(sides):
    draft = sides.editor('[[application]]\nname = "KES"\n')
    change = changed(draft, MappingEdit.set_product, exception(product="KES-ADV"))
    assert change.text.endswith('\n\n[[product]]\napplication = "KES"\nall = "KES-ADV"\n')


def test_an_exception_is_changed_and_the_others_keep_their_text(draft, sides):
    change = changed(draft, MappingEdit.set_exception, 0, exception())
    assert change.text == TEXT.replace("1250", "1300")
    assert changed(draft, MappingEdit.set_exception, 0, exception(product="1250")).text == TEXT
    left = changed(draft, MappingEdit.set_exception, 0, exception(product="", bill=False))
    assert left.products == ()
    assert "is managed by hand" in left.done[0]
    assert not sides.editor(left.text).mapping.companies[0].exceptions[1].bill


def test_an_exception_is_changed_in_place_with_all_its_comments(sides):
    text = TEXT.replace("all = 1250", "# inner\nall = 1250 # agreed\n# after")
    draft = sides.editor(text)
    assert changed(draft, MappingEdit.set_exception, 0, exception()).text == text.replace(
        "1250", "1300"
    )
    for row in (BY_CATEGORY, exception(product="", bill=False)):
        with pytest.raises(ConfigError, match="all must go, and the comment behind it would be"):
            changed(draft, MappingEdit.set_exception, 0, row)
    draft = sides.editor(text.replace(" # agreed", ""))
    left = changed(draft, MappingEdit.set_exception, 0, exception(product="", bill=False)).text
    assert left == draft.text.replace("all = 1250\n", "bill = false\n")
    again = changed(sides.editor(left), MappingEdit.set_exception, 0, exception()).text
    assert again == left.replace("# inner\nbill = false", "# inner\nall = 1300")


def test_exceptions_that_are_written_inline_are_managed_by_hand(sides):
    head, _, _ = TEXT.partition("[[company.product]]")
    text = head + 'product = [{application = "KES", all = 1250}]\n'
    with pytest.raises(ConfigError, match="cannot change one of them"):
        changed(sides.editor(text), MappingEdit.set_exception, 0, exception())


def test_no_exception_can_bill_an_application_that_is_never_billed(draft, sides):
    editor = sides.editor(TEXT)
    with pytest.raises(ConfigError, match=r"take bill = false away there, or the products"):
        editor.check(
            changed(draft, MappingEdit.set_application, Application("KES", bill=False)).text
        )


def test_an_exception_is_taken_out(draft):
    change = changed(draft, MappingEdit.remove_exception, 0, "Mail")
    assert "by hand" not in change.text
    assert "contract 17" in change.text
    with pytest.raises(ConfigError, match='no exception for "EDR"'):
        changed(draft, MappingEdit.remove_exception, 0, "EDR")


def test_products_are_taken_out(draft):
    change = changed(draft, MappingEdit.remove_product, "KES", "cw")
    assert "flat" not in change.text
    with pytest.raises(ConfigError, match=r'no \[\[product\]\] of "Mail" for psa.cw'):
        changed(draft, MappingEdit.remove_product, "Mail", "cw")


def test_an_application_is_taken_out_with_all_that_names_it(draft, sides):
    change = changed(draft, MappingEdit.remove_application, "kes")
    mapping = sides.editor(change.text).mapping
    assert [application.name for application in mapping.applications] == ["Mail"]
    assert mapping.products == ()
    assert [each.application for each in mapping.companies[0].exceptions] == ["Mail"]
    assert change.done == (
        'Removed application "KES".',
        '"KES" has no product in psa.cw any more: it is not billed there.',
        'Removed the exception of "Contoso" (cw:1042) for "KES".',
    )


def test_a_policy_stays_when_the_products_change_and_can_be_set_alone(sides):
    text = TEXT.replace("all = 1200        # flat", 'all = 1200        # flat\ncount = "peak"')
    rows = sides.editor(text).edit()
    rows.set_product(ProductRow("KES", "cw", {Category.ALL: "1300"}))
    rows.set_exception(0, ProductRow("KES", "cw", count="day:25"))
    change = rows.change()
    wanted = text.replace("all = 1200 ", "all = 1300 ")
    wanted = wanted.replace("all = 1250\n", 'all = 1250\ncount = "day:25"\n')
    assert change.text == wanted
    assert change.done == (
        '"KES" is billed as 1300, count peak (psa.cw). Before: 1200, count peak.',
        '"KES" of "Contoso" (cw:1042) is billed as 1250, count day:25.',
    )
