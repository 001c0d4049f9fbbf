from __future__ import annotations

import pytest
from defusedxml.ElementTree import fromstring
from hypothesis import given
from hypothesis import strategies as st

from kisi.errors import ConfigError
from kisi.psa.tigerpaw.soap import ChargeValues, load_template

ANY_TEXT = st.text(st.characters(codec="utf-8"), max_size=60)
VALUES = ChargeValues(agreement_number="7001", account_number="500", item_id="KES-WS", quantity=90)


def test_the_packaged_template_makes_a_charge_without_id_and_price():
    xml = fromstring(load_template(None).render(VALUES))
    assert xml.tag == "AgreementAdditionalCharges"
    assert xml.findtext("AgreementNumber") == "7001"
    charge = xml.find("AdditionalCharge")
    assert {child.tag: child.text for child in charge} == {
        "DetailId": None,
        "ItemId": "KES-WS",
        "ItemDescription": None,
        "Quantity": "90",
        "Price": None,
        "DeleteAfterInvoicing": "false",
        "PrintWhenQuantityZero": "false",
    }


def test_comments_are_not_sent():
    assert "<!--" not in load_template(None).render(VALUES)


@given(ANY_TEXT, ANY_TEXT)
def test_no_value_can_break_out_of_its_element(item, description):
    values = ChargeValues(
        agreement_number="7001",
        account_number="500",
        item_id=item,
        quantity=1,
        description=description,
    )
    xml = fromstring(load_template(None).render(values))
    assert [child.tag for child in xml] == ["AgreementNumber", "AdditionalCharge"]
    assert len(xml.find("AdditionalCharge")) == 7


def test_values_are_escaped_in_attributes_too(tmp_path):
    path = tmp_path / "own.xml"
    path.write_text(
        "<?xml version='1.0'?><a n='$agreement_number'><i d=\"$description\">$item_id</i>"
        "<q>${quantity}</q>$$</a>"
    )
    values = ChargeValues(
        agreement_number="1",
        account_number="2",
        item_id="<&>",
        quantity=3,
        description='it\'s "5" > \x04 4',
    )
    xml = fromstring(load_template(path).render(values))
    assert xml.find("i").attrib == {"d": 'it\'s "5" >  4'}
    assert (xml.findtext("i"), xml.findtext("q")) == ("<&>", "3")


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("<a>$agreement_number $item_id $quantity", ["not plain well-formed XML"]),
        (
            "<!DOCTYPE a [<!ENTITY e 'x'>]><a>$agreement_number $item_id $quantity &e;</a>",
            ["not plain well-formed XML"],
        ),
        ("<a>$agreement_number</a>", ["lacks the placeholder $item_id", "placeholder $quantity"]),
        ("<a>$agreement_number $item_id $quantity $qty</a>", ["unknown placeholder $qty"]),
        ("<a>$agreement_number $item_id $quantity 5$</a>", ["begins no placeholder"]),
        ("<a>$agreement_number $item_id <![CDATA[$quantity]]></a>", ["CDATA"]),
        (
            "<a><!-- $quantity -->$agreement_number $item_id</a>",
            ["lacks the placeholder $quantity"],
        ),
    ],
)
def test_an_unusable_template_is_refused_with_all_its_problems(tmp_path, text, problems):
    path = tmp_path / "own.xml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_template(path)
    assert str(path) in caught.value.message
    assert len(caught.value.problems) == len(problems)
    for problem, expected in zip(caught.value.problems, problems, strict=True):
        assert expected in problem


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00<"])
def test_a_template_that_cannot_be_read_is_a_configuration_error(tmp_path, content):
    path = tmp_path / "own.xml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_template(path)
