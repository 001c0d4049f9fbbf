from __future__ import annotations

import json

import pytest

from kisi.psa.connectwise.wire import read_refusal, request_id
from kisi.redaction import Redactor
from kisi.transport import Answer
from tests.unit.psa.connectwise.conftest import INVOICED, NO_RIGHT


def answer(status, body, **headers):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status, headers, raw)


CLOUDFLARE = (
    b"<!DOCTYPE html>\n<html><head><title>Attention Required! | Cloudflare</title></head></html>"
)


@pytest.mark.parametrize(
    ("status", "body", "sentence"),
    [
        (
            400,
            {
                "code": "InvalidObject",
                "message": "company object is invalid",
                "errors": [
                    {"code": "OutOfRange", "message": "The field yearEstablished must be between."},
                    {"code": "MissingRequiredField", "message": "Wrong.", "field": "assignTo"},
                ],
            },
            (
                "400 InvalidObject: company object is invalid: The field yearEstablished must be between.;"
                " Wrong. (assignTo)."
            ),
        ),
        (
            429,
            {
                "error": "ConnectWiseAPI",
                "message": "Too many requests. Please try again in 30 seconds.",
            },
            "429 ConnectWiseAPI: Too many requests. Please try again in 30 seconds.",
        ),
        (403, NO_RIGHT, f"403 Security: {NO_RIGHT['message']}"),
        (401, {"code": "Unauthorized", "errors": None}, "401 Unauthorized."),
        (
            400,
            {"errors": [{"code": "UnsupportedFormat"}, 7]},
            "400 Bad Request: UnsupportedFormat.",
        ),
        (400, {"message": "no", "errors": 7}, "400 Bad Request: no."),
        (403, CLOUDFLARE, "403 Forbidden: a web page, 'Attention Required! | Cloudflare'."),
        (502, b"<html></html>", "502 Bad Gateway: a web page."),
        (503, b"Service\r\n  maintenance", "503 Service Unavailable: Service maintenance."),
        (500, ["what", 1], '500 Internal Server Error: ["what", 1].'),
        (404, b"null", "404 Not Found."),
        (522, b"", "522."),
    ],
)
def test_every_body_becomes_one_sentence(status, body, sentence):
    assert read_refusal(answer(status, body)).sentence == sentence


def test_a_long_message_is_cut():
    refusal = read_refusal(answer(400, {"code": "x" * 999, "message": "y" * 9999}))
    assert len(refusal.sentence) < 400


def test_an_invoiced_period_is_known_by_its_sentence():
    assert read_refusal(answer(400, INVOICED)).of_invoiced_period
    assert not read_refusal(answer(400, NO_RIGHT)).of_invoiced_period


@pytest.mark.parametrize(
    ("status", "body", "of_login", "of_permission"),
    [
        (401, {}, True, False),
        (403, {"code": "Security", "message": "SSL is required."}, True, False),
        (403, CLOUDFLARE, True, False),
        (403, NO_RIGHT, False, True),
        (404, {"code": "ConnectWiseApi", "message": "UserNotAuthenticated"}, True, False),
        (404, {"code": "NotFound", "message": "Entity not found"}, False, False),
        (400, INVOICED, False, False),
    ],
)
def test_a_refused_login_is_told_from_a_missing_right(status, body, of_login, of_permission):
    refusal = read_refusal(answer(status, body))
    assert (refusal.of_login, refusal.of_permission) == (of_login, of_permission)


def test_the_request_id_cannot_forge_a_log_line():
    assert request_id(Answer(200, {"x-cw-request-id": "c92-34\r\nERROR all is lost"}, b"")) == (
        "c92-34ERRORallislost"
    )


SECRET = "s3cr3t-Private-Key"


@pytest.fixture
def secret(monkeypatch):
    """The process's redactor knows it, for this test."""
    redactor = Redactor()
    redactor.add(SECRET)
    for module in ("kisi.redaction", "kisi.psa.connectwise.wire", "kisi.transport.answer"):
        monkeypatch.setattr(f"{module}.REDACTOR", redactor)
    return SECRET


@pytest.mark.parametrize("said", [SECRET, " ".join(SECRET), "x" * 60 + SECRET, "x" * 9999])
def test_a_request_id_is_short_and_holds_no_secret(secret, said):
    shown = request_id(answer(400, {}, **{"x-cw-request-id": said}))
    assert len(shown) <= 64
    assert "s3cr" not in shown


@pytest.mark.parametrize("before", [0, 4090, 8180])
@pytest.mark.parametrize("page", ["{}", "<html><title>{}</title>"])
def test_a_secret_at_any_place_of_a_page_is_masked_before_the_page_is_cut(secret, before, page):
    said = answer(502, page.format(" " * before + secret + " for you").encode())
    assert "s3cr" not in str(read_refusal(said))
    assert "s3cr" not in said.excerpt()
