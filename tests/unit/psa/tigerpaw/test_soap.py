from __future__ import annotations

from http import HTTPStatus

import pytest
from defusedxml.ElementTree import fromstring

from kisi.psa.tigerpaw.soap import Said, envelope, read_answer
from kisi.transport import Answer

ENVELOPE = '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>{}</s:Body></s:Envelope>'
RESPONSE = ENVELOPE.format(
    '<SubmitAgreementAdditionalChargesResponse xmlns="http://www.tigerpawsoftware.com">'
    "<SubmitAgreementAdditionalChargesResult>{}</SubmitAgreementAdditionalChargesResult>"
    "</SubmitAgreementAdditionalChargesResponse>"
)
NESTED = RESPONSE.format("<R><Success>{}</Success><Message>{}</Message></R>")


def read(text: str, status: int = HTTPStatus.OK):
    return read_answer(Answer(status, {}, text.encode()), "Tigerpaw (psa.tp)")


def test_the_two_namespaces_differ_by_the_slash_at_the_end():
    root = fromstring(envelope("kisi", "a<b", "<X><Y>1</Y></X>"))
    soap = "{http://schemas.xmlsoap.org/soap/envelope/}"
    auth = "{http://www.tigerpawsoftware.com/}"
    body = "{http://www.tigerpawsoftware.com}"
    login = root.find(f"{soap}Header/{auth}AuthHeader")
    assert (login.findtext(f"{auth}UserName"), login.findtext(f"{auth}Password")) == ("kisi", "a<b")
    params = root.find(f"{soap}Body/{body}SubmitAgreementAdditionalCharges/{body}Params")
    assert params.findtext("./{*}X/{*}Y") == "1"


@pytest.mark.parametrize("escaped", [False, True])
@pytest.mark.parametrize(
    ("success", "message", "said"),
    [
        ("true", "", Said.DONE),
        ("True", "saved", Said.DONE),
        ("false", "Agreement is locked", Said.REFUSED),
        ("false", "", Said.REFUSED),
        ("false", "User is not authorized", Said.DENIED),
        ("maybe", "", Said.NOTHING),
    ],
)
def test_a_result_is_read_as_elements_and_as_escaped_text(success, message, said, escaped):
    inner = f"<R><Success>{success}</Success><Message>{message}</Message></R>"
    if escaped:
        inner = inner.replace("<", "&lt;").replace(">", "&gt;")
    answer = read(RESPONSE.format(inner))
    assert answer.said is said
    assert message in answer.message


def test_a_fault_gives_its_reason_cut_to_a_size():
    fault = ENVELOPE.format(f"<s:Fault><faultstring>{'x' * 900}</faultstring></s:Fault>")
    answer = read(fault, HTTPStatus.INTERNAL_SERVER_ERROR)
    assert answer.said is Said.REFUSED
    assert len(answer.message) < 300
    assert read(ENVELOPE.format("<s:Fault/>"), 500).message.endswith("no reason.")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<html><body>Service maintenance",
        "<html/>",
        ENVELOPE.format(""),
        RESPONSE.format(""),
        RESPONSE.format("&lt;broken"),
        '<!DOCTYPE a [<!ENTITY e "x">]>' + NESTED.format("true", "&e;"),
        NESTED.format("true", "x" * 2**20),
    ],
)
def test_what_cannot_be_read_says_nothing(text):
    answer = read(text)
    assert answer.said is Said.NOTHING
    assert answer.message.startswith("Tigerpaw (psa.tp) answered the submit with status 200")
