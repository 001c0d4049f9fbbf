from __future__ import annotations

from http import HTTPStatus

import pytest
from defusedxml.ElementTree import fromstring

from kisi.model import WriteStatus
from kisi.psa.tigerpaw.wire import envelope, read_answer
from kisi.transport import Answer

ENVELOPE = '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>{}</s:Body></s:Envelope>'
RESPONSE = ENVELOPE.format(
    '<SubmitAgreementAdditionalChargesResponse xmlns="http://www.tigerpawsoftware.com">'
    "<SubmitAgreementAdditionalChargesResult>{}</SubmitAgreementAdditionalChargesResult>"
    "</SubmitAgreementAdditionalChargesResponse>"
)
NESTED = RESPONSE.format("<R><Success>{}</Success><Message>{}</Message></R>")


UNCLEAR = (WriteStatus.UNKNOWN, False)
"""Also what says that it succeeded: only the charges tell."""
REFUSED, DENIED = (WriteStatus.REJECTED, False), (WriteStatus.REJECTED, True)


def said_by(answer):
    return answer.status, answer.denied


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
        ("true", "", UNCLEAR),
        ("True", "saved", UNCLEAR),
        ("false", "Agreement is locked", REFUSED),
        ("false", "", REFUSED),
        ("false", "User is not authorized", DENIED),
        ("maybe", "", UNCLEAR),
    ],
)
def test_a_result_is_read_as_elements_and_as_escaped_text(success, message, said, escaped):
    inner = f"<R><Success>{success}</Success><Message>{message}</Message></R>"
    if escaped:
        inner = inner.replace("<", "&lt;").replace(">", "&gt;")
    answer = read(RESPONSE.format(inner))
    assert said_by(answer) == said
    assert message in answer.message


def refused(reason):
    fault = ENVELOPE.format(f"<s:Fault><faultstring>{reason}</faultstring></s:Fault>")
    return read(fault, HTTPStatus.INTERNAL_SERVER_ERROR)


@pytest.mark.parametrize(
    "reason",
    [
        "Login failed",
        "Login failed for user kisi.",
        "Server was unable to process request. --- Logon failed",
        "Invalid login",
        "INVALID USER LOGIN",
        "Unable to log on.",
        "Could not sign in",
        "The log-in was rejected",
        "Login is not valid",
        "Access denied",
        "Access is denied.",
        "Unauthorized",
        "The user is not authorised",
        "Invalid user or password",
        "Wrong credentials",
        "The UserName is unknown",
        "Authentication failed",
    ],
)
def test_a_refusal_of_the_login_is_known_by_what_it_speaks_of(reason):
    assert said_by(refused(reason)) == DENIED


@pytest.mark.parametrize(
    "reason",
    [
        "The charge was denied: the agreement is being billed",
        "Item LOGIN-SVC is not in the price book",
        "Item Login Portal is inactive",
        "Invalid quantity of item Log Analytics",
        "Server was unable to process request. Item LOGIN-SVC was not found",
        "Charge 5 is wrong; see the log on the server",
        "An invalid charge of the account",
    ],
)
def test_a_refusal_of_a_charge_is_none_of_the_login(reason):
    assert said_by(refused(reason)) == REFUSED


def test_a_reason_with_a_full_stop_gets_no_second_one():
    said = refused("Server was unable to process request.").message
    assert said.endswith("a SOAP fault: Server was unable to process request.")
    assert not said.endswith("..")


def test_a_fault_gives_its_reason_cut_to_a_size():
    fault = ENVELOPE.format(f"<s:Fault><faultstring>{'x' * 900}</faultstring></s:Fault>")
    answer = read(fault, HTTPStatus.INTERNAL_SERVER_ERROR)
    assert said_by(answer) == REFUSED
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
        '<?xml version="1.0" encoding="martian"?>' + NESTED.format("true", "m"),
        '<?xml version="1.0" encoding="idna"?>' + NESTED.format("true", "m"),
        '<!DOCTYPE a [<!ENTITY e "x">]>' + NESTED.format("true", "&e;"),
        NESTED.format("true", "x" * 2**20),
    ],
)
def test_what_cannot_be_read_says_nothing(text):
    answer = read(text)
    assert said_by(answer) == UNCLEAR
    assert answer.message.startswith("Tigerpaw (psa.tp) answered the submit with status 200")
