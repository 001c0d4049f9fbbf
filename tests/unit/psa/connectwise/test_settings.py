from __future__ import annotations

import pytest
from pydantic import ValidationError

from kisi.errors import ConfigError
from kisi.psa.connectwise import ConnectWiseSettings
from kisi.psa.connectwise.adapter import ConnectWise
from kisi.transport import Limits
from tests.unit.fakes import FakeClock
from tests.unit.psa.connectwise.conftest import HOST, SECRETS


def test_the_smallest_section_has_the_documented_defaults():
    settings = ConnectWiseSettings(kind="connectwise", url=f"{HOST}/", company="acme")
    assert settings.url == HOST
    assert (settings.workers, settings.codebase, settings.api_version) == (
        4,
        "v4_6_release",
        "2026.4",
    )


def section(**changes: object) -> ConnectWiseSettings:
    return ConnectWiseSettings(**{"kind": "connectwise", "url": HOST, "company": "acme", **changes})


@pytest.mark.parametrize(
    "url",
    [
        "https://api-na.myconnectwise.net",
        "https://api-staging.connectwisedev.com",
        "https://psa.example.com:8443",
        "http://127.0.0.1:8080",
        "http://localhost:8080",
        "http://[::1]:8080",
    ],
)
def test_api_hosts_and_loopback_addresses_are_accepted(url):
    assert section(url=url).url == url


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("https://eu.myconnectwise.net", "API: https://api-eu.myconnectwise.net."),
        ("https://EU.MyConnectWise.net/", "API: https://api-eu.myconnectwise.net."),
        ("https://staging.connectwisedev.com", "https://api-staging.connectwisedev.com"),
        (
            "https://psa.example.com:8443/v4_6_release/apis/3.0",
            "host: https://psa.example.com:8443.",
        ),
        ("http://api-eu.myconnectwise.net", "must begin with https://"),
        ("http://127.0.0.1.example.com", "must begin with https://"),
        ("https://user:secret@psa.example.com", "must hold no user"),
        ("api-eu.myconnectwise.net", "not the address of a server"),
    ],
)
def test_any_other_address_is_refused_with_what_is_right(url, says):
    with pytest.raises(ValidationError) as caught:
        section(url=url)
    (problem,) = caught.value.errors(include_url=False)
    assert says in problem["msg"]
    assert "secret" not in problem["msg"]


@pytest.mark.parametrize(
    "changes",
    [
        {"company": ""},
        {"company": "ac:me"},
        {"company": "ac me"},
        {"workers": 0},
        {"workers": 17},
        {"codebase": "../.."},
        {"codebase": "v4_6_release/"},
        {"api_version": "latest"},
        {"api_version": "2026.4; q=1"},
        {"colour": "blue"},
    ],
)
def test_a_wrong_value_is_refused(changes):
    with pytest.raises(ValidationError):
        section(**changes)


@pytest.mark.parametrize(
    ("secret", "value"),
    [("client_id", "a\nb"), ("client_id", "clé"), ("public_key", "PUB:PRIV")],
)
def test_a_secret_that_cannot_be_part_of_a_request_is_an_error_without_its_value(secret, value):
    secrets = SECRETS | {secret: value}
    with pytest.raises(ConfigError) as caught:
        ConnectWise("cw", section(), secrets, base=None, clock=FakeClock(), limits=Limits())
    assert secret in caught.value.message
    assert value not in caught.value.message
