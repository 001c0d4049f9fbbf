from __future__ import annotations

import pytest
from defusedxml.ElementTree import fromstring
from hypothesis import given
from hypothesis import strategies as st

from kisi.errors import ConfigError
from kisi.psa.tigerpaw.wire import charge_values, load_template, render
from tests.unit.fakes import planned

ANY_TEXT = st.text(st.characters(codec="utf-8"), max_size=60)


def values(item="KES-WS", quantity=90, description=""):
    line = planned(None, quantity, item, psa="tp", company="500", agreement="7001")
    return charge_values(line, None, description)


def test_the_packaged_template_makes_a_charge_without_id_and_price():
    xml = fromstring(render(load_template(None), values()))
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
    assert "<!--" not in render(load_template(None), values())


@given(ANY_TEXT, ANY_TEXT)
def test_no_value_can_break_out_of_its_element(item, description):
    xml = fromstring(render(load_template(None), values(item, 1, description)))
    assert [child.tag for child in xml] == ["AgreementNumber", "AdditionalCharge"]
    assert len(xml.find("AdditionalCharge")) == 7


def test_values_are_escaped_in_attributes_too(tmp_path):
    path = tmp_path / "own.xml"
    path.write_text(
        "<?xml version='1.0'?><a n='$agreement_number'><i d=\"$description\">$item_id</i>"
        "<q>${quantity}</q>$$</a>"
    )
    given_values = values("<&>", 3, 'it\'s "5" > \x04 4')
    xml = fromstring(render(load_template(path), given_values))
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
