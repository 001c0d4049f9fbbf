"""Security Center cannot be reached, or is not who it should be."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kisi.sandbox.certificate import Certificate
from tests.faults.conftest import Trial, trouble
from tests.faults.proxy import Proxy
from tests.unit.transport.raw_server import Certificate as RawCertificate


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that refuses connections: it is taken, and nobody listens on it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.mark.fault(
    1, injection="Security Center refuses the connection", outcome="exit 4 after 3 tries, no write"
)
def test_a_closed_port_ends_the_source_after_three_tries(billed: Trial, closed_port: int):
    port = billed.sandbox.ksc_server.port
    billed.configure(f":{port}", f":{closed_port}")

    result = billed.sync()

    assert (result.code, result.writes) == (4, [])
    assert len(billed.operator.slept) == 2
    assert sum(billed.operator.slept) < 3
    assert billed.contoso.quantities == {billed.product: 6}
    assert "need attention: Contoso and Fabrikam (source-incomplete: " in billed.sentence
    assert f"127.0.0.1:{closed_port} could not be reached: it refused" in billed.sentence
    assert "the lines of its clients stay as they are" in billed.sentence
    assert "Check the address, the network" in trouble(result, "Contoso").remedy
    billed.heals()


@pytest.mark.fault(
    2, injection="Security Center's name cannot be resolved", outcome="exit 4, names the host"
)
def test_a_name_that_does_not_resolve_is_named(billed: Trial):
    billed.configure(billed.sandbox.ksc_server.url, "https://ksc.invalid:13299")

    result = billed.sync()

    assert (result.code, result.writes) == (4, [])
    assert "ksc.invalid:13299 could not be reached: its name could not be" in billed.sentence
    assert billed.contoso.quantities == {billed.product: 6}
    billed.heals()


@pytest.mark.fault(
    3,
    injection="an unknown self-signed certificate",
    outcome="exit 4 with its fingerprint and what to do; no password is sent, nothing is trusted",
)
def test_a_certificate_that_nobody_vouches_for_gets_no_password(billed: Trial):
    pin = f'fingerprints = ["{billed.sandbox.ksc_server.fingerprint}"]'
    billed.configure(pin, "# no pin")

    for _ in range(2):  # a second time nothing is remembered as trusted
        result = billed.sync()

        assert (result.code, result.writes, result.sent_to("ksc")) == (4, [], [])
        assert "certificate of 127.0.0.1" in billed.sentence
        assert "is not trusted" in billed.sentence
        assert billed.sandbox.ksc_server.fingerprint in billed.sentence
        assert "Only if the fingerprint is theirs" in trouble(result, "Contoso").remedy
    billed.heals()


@pytest.mark.fault(
    4,
    injection="the certificate was replaced",
    outcome="exit 4 with both fingerprints; no password is sent",
)
def test_a_replaced_certificate_is_shown_beside_the_pinned_one(billed: Trial):
    billed.operator.by_hand()
    server = billed.sandbox.ksc_server
    pinned = server.fingerprint
    server.present(Certificate.make())

    result = billed.sync()

    assert (result.code, result.writes, result.sent_to("ksc")) == (4, [], [])
    assert server.fingerprint in billed.sentence
    assert f"Pinned: {pinned}" in billed.sentence
    billed.heals()


def _expired(_: Path) -> Certificate:
    return Certificate.make(not_after=datetime.now(UTC) - timedelta(days=1))


def _version_1(folder: Path) -> Certificate:
    """As old versions of Security Center make it, which strict checking refuses."""
    raw = RawCertificate(folder, version_1=True)
    key = (folder / f"{raw.fingerprint[7:15]}.key").read_text(encoding="ascii")
    return Certificate(raw.der, raw.pem.read_text(encoding="ascii"), key, datetime.now(UTC))


@pytest.mark.parametrize("make", [_expired, _version_1], ids=["expired", "version 1"])
@pytest.mark.fault(
    4,
    injection="the pinned certificate has expired, or is of X.509 version 1",
    outcome="billed: a pinned certificate is judged by its bytes alone",
)
def test_a_pinned_certificate_is_good_whatever_its_age_and_version(
    billed: Trial, make, tmp_path: Path
):
    billed.sandbox.ksc_server.present(make(tmp_path))

    assert billed.sync().code == 0

    billed.heals()


@pytest.mark.fault(
    5,
    injection="REQUESTS_CA_BUNDLE, .netrc and dead proxies in the environment",
    outcome="pin and login are unaffected; loopback asks no proxy",
)
def test_the_environment_changes_neither_trust_nor_login(
    billed: Trial, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, closed_port: int
):
    stranger = tmp_path / "bundle.pem"
    stranger.write_text(Certificate.make().pem, encoding="ascii")
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login evil password evil\n", encoding="ascii")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(stranger))
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port}")
        monkeypatch.setenv(name.lower(), f"http://127.0.0.1:{closed_port}")

    assert billed.sync().code == 0

    assert billed.contoso.quantities == {billed.product: 8}
    billed.heals()


@pytest.mark.fault(
    5,
    injection="Security Center is behind the environment's proxy",
    outcome="the proxy is used, and the pin holds through it",
)
def test_a_server_behind_a_proxy_is_reached_through_it(
    billed: Trial, monkeypatch: pytest.MonkeyPatch
):
    server = billed.sandbox.ksc_server
    billed.configure(server.url, "https://ksc.invalid:13299")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with Proxy(server.port) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)

        assert billed.sync().code == 0

        assert {line.rpartition(" ")[0] for line in proxy.asked} == {"CONNECT ksc.invalid:13299"}
        assert billed.contoso.quantities == {billed.product: 8}
    monkeypatch.delenv("HTTPS_PROXY")
    billed.heals()


@pytest.mark.fault(
    5, injection="the environment's proxy refuses", outcome="exit 4, says that it was the proxy"
)
def test_a_proxy_that_refuses_is_named_as_the_cause(billed: Trial, monkeypatch: pytest.MonkeyPatch):
    billed.configure(billed.sandbox.ksc_server.url, "https://ksc.invalid:13299")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with Proxy(None) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)

        result = billed.sync()

    assert (result.code, result.writes) == (4, [])
    assert "the proxy did not open the way" in billed.sentence
    assert "proxy settings" in trouble(result, "Contoso").remedy
    monkeypatch.delenv("HTTPS_PROXY")
    billed.heals()
