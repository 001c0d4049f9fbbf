"""Whom a `Client` trusts, and that the environment has no say in it."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trustme

from kisi.errors import ConfigError, NotSent, Untrusted
from kisi.secrets import fingerprint, is_loopback, normal_fingerprint
from kisi.transport import (
    Retry,
    certificate_of,
)
from kisi.transport.connection import proxies_for, system_context
from kisi.transport.trust import trust_methods
from tests.owners import belongs_to, posix

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.transport.raw_server import Certificate, Connect, Peer, Serve

    Make = Callable[..., Certificate]

OTHER = "sha256:" + "ab" * 32


def keep_alive(peer: Peer) -> None:
    while peer.request():
        peer.answer()


def test_a_pinned_leaf_is_good_whatever_its_name(
    serve: Serve, connect: Connect, certificate: Make
) -> None:
    own = certificate()
    server = serve(keep_alive, own.context)
    shouted = "SHA256:" + ":".join(own.fingerprint[7:].upper()[i : i + 2] for i in range(0, 64, 2))
    client = connect(server.url, fingerprints=(OTHER, normal_fingerprint(shouted)))
    assert client.send("POST", "/login", json={}).status == 200
    assert client.send("POST", "/more", json={}).status == 200
    assert server.connections == 1


@pytest.mark.parametrize("properties", [{"days": -1}, {"version_1": True}])
@pytest.mark.parametrize("by", ["fingerprint", "pem", "der"])
def test_an_expired_or_old_leaf_is_good_if_it_is_pinned(
    serve: Serve,
    connect: Connect,
    certificate: Make,
    tmp_path: Path,
    properties: dict[str, object],
    by: str,
) -> None:
    own = certificate(**properties)
    der = tmp_path / "klserver.cer"
    der.write_bytes(own.der)
    trust = {
        "fingerprint": {"fingerprints": (own.fingerprint,)},
        "pem": {"ca_files": (own.pem,)},
        "der": {"ca_files": (der,)},
    }[by]
    server = serve(keep_alive, own.context)
    assert connect(server.url, **trust).send("GET", "/").status == 200


@pytest.mark.parametrize("by", ["fingerprint", "file"])
def test_a_wrong_certificate_ends_the_call_before_anything_is_sent(
    serve: Serve, connect: Connect, certificate: Make, by: str
) -> None:
    own, pinned = certificate(), certificate()
    server = serve(keep_alive, own.context)
    trust = (
        {"fingerprints": (pinned.fingerprint,)}
        if by == "fingerprint"
        else {"ca_files": (pinned.pem,)}
    )
    client = connect(server.url, **trust)
    with pytest.raises(Untrusted) as caught:
        client.send("POST", "/", headers={"Authorization": "x"}, retry=Retry.READ)
    assert server.requests == []
    assert caught.value.presented == own.fingerprint
    assert own.fingerprint in caught.value.message
    assert pinned.fingerprint in caught.value.message
    assert "fingerprints" in caught.value.remedy


def test_a_certificate_that_changes_between_two_requests_is_noticed(
    serve: Serve, connect: Connect, certificate: Make
) -> None:
    old, new = certificate(), certificate()
    server = serve(lambda peer: peer.request() and peer.answer(), old.context)
    client = connect(server.url, fingerprints=(old.fingerprint,))
    client.send("GET", "/")
    server.wait_for_hang_up()
    server._context = new.context
    with pytest.raises(Untrusted, match=new.fingerprint):
        client.send("GET", "/")
    assert len(server.requests) == 1


def test_no_keys_of_a_connection_are_written(
    serve: Serve, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys, authority = tmp_path / "keys.log", trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSLKEYLOGFILE", str(keys))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    server = serve(keep_alive, issued(authority, "127.0.0.1"))
    for trust in ({}, {"ca_files": (tmp_path / "ca.pem",)}):
        assert connect(server.url, **trust).send("GET", "/").status == 200
    assert system_context().verify_mode is ssl.CERT_REQUIRED
    assert not keys.exists()


@posix
def test_a_pinned_certificate_of_another_user_is_not_used(
    tmp_path: Path, certificate: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned = certificate().pem
    belongs_to(monkeypatch, pinned, 4321)
    with pytest.raises(ConfigError, match=r"belongs to the id 4321, .* does not use it"):
        trust_methods((pinned,), ())


def issued(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def test_an_authority_vouches_for_its_certificates_whatever_their_name(
    serve: Serve, connect: Connect, tmp_path: Path
) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    server = serve(keep_alive, issued(authority, "ksc.example.com"))
    impostor = serve(keep_alive, issued(stranger, "ksc.example.com"))
    trust = {"ca_files": (tmp_path / "ca.pem",), "fingerprints": (OTHER,)}
    client = connect(server.url, **trust)
    presented = certificate_of("127.0.0.1", server.port).fingerprint
    assert client.why_trusted(OTHER) == "which is pinned"
    assert client.why_trusted(presented) == "", "nothing has proved it yet"
    server.connections = 0
    client.send("GET", "/")
    assert client.why_trusted(presented) == "issued by one of `ca_files`"
    assert server.connections == 2
    client.close()
    client.send("GET", "/")
    assert server.connections == 3, "the way of judging that worked comes first from then on"
    with pytest.raises(Untrusted, match="sha256:"):
        connect(impostor.url, **trust).send("GET", "/")
    assert impostor.requests == []


def test_without_pins_the_authorities_and_the_name_decide(
    serve: Serve, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    good = serve(keep_alive, issued(authority, "127.0.0.1"))
    misnamed = serve(keep_alive, issued(authority, "other.example"))
    with pytest.raises(Untrusted) as caught:
        connect(good.url).send("GET", "/")
    assert caught.value.presented == certificate_of("127.0.0.1", good.port).fingerprint
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    client = connect(good.url)
    assert client.send("GET", "/").status == 200
    assert client.why_trusted(OTHER) == "which this machine's authorities issued"
    with pytest.raises(Untrusted):
        connect(misnamed.url).send("GET", "/")
    assert misnamed.requests == []


def test_the_environment_changes_neither_pins_nor_authentication(
    serve: Serve,
    connect: Connect,
    certificate: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own, pinned = certificate(), certificate()
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login evil password evil\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(own.pem))
    monkeypatch.setenv("CURL_CA_BUNDLE", str(own.pem))
    server = serve(keep_alive, own.context)
    with pytest.raises(Untrusted):
        connect(server.url, fingerprints=(pinned.fingerprint,)).send("GET", "/")
    client = connect(server.url, fingerprints=(own.fingerprint,))
    client.send("GET", "/", headers={"Authorization": "KSCBasic mine"})
    client.send("GET", "/")
    assert b"Authorization: KSCBasic mine" in server.requests[0]
    assert b"uthorization" not in server.requests[1]


def test_loopback_is_never_asked_for_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "inside.example")
    assert proxies_for("https://psa.example/x")["https"] == "http://proxy.example:3128"
    assert proxies_for("https://inside.example") == {}
    for host in ("127.0.0.1", "127.9.9.9", "localhost", "LOCALHOST.", "[::1]"):
        assert proxies_for(f"https://{host}:13299") == {}
        assert is_loopback(host)
    assert not is_loopback("10.0.0.1")
    assert not is_loopback("localhost.example")


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "ALL_PROXY"])
def test_a_socks_proxy_is_refused_in_a_sentence(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "socks5h://127.0.0.1:1080")
    with pytest.raises(NotSent, match="names a SOCKS proxy") as caught:
        connect("https://psa.example").send("GET", "/", retry=Retry.READ)
    assert "HTTPS_PROXY" in caught.value.remedy
    with pytest.raises(NotSent, match="SOCKS"):
        certificate_of("psa.example", 443)
    monkeypatch.setenv("NO_PROXY", "psa.example")
    assert proxies_for("https://psa.example") == {}


def test_a_pin_holds_through_a_proxy(
    serve: Serve, connect: Connect, certificate: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = certificate()

    def proxy(peer: Peer) -> None:
        assert peer.request().startswith(b"CONNECT ksc.example:13299 ")
        peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with own.context.wrap_socket(peer._sock, server_side=True) as secure:
            peer._sock = secure
            keep_alive(peer)

    server = serve(proxy)
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:pw@127.0.0.1:{server.port}")
    good = connect("https://ksc.example:13299", fingerprints=(own.fingerprint,))
    assert good.send("POST", "/login", json={}).status == 200
    good.close()
    with pytest.raises(Untrusted, match=own.fingerprint):
        connect("https://ksc.example:13299", fingerprints=(OTHER,)).send("GET", "/")
    assert [data.split()[0] for data in server.requests] == [b"CONNECT", b"POST", b"CONNECT"]
    assert b"Proxy-Authorization: Basic" in server.requests[0]
    assert b"Proxy-Authorization" not in server.requests[1]


def test_a_proxy_that_refuses_means_not_sent(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(lambda peer: peer.request() and peer.answer(b"", "407 Authenticate"))
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:pw@127.0.0.1:{server.port}")
    client = connect("https://ksc.example:13299")
    with pytest.raises(NotSent, match="the proxy did not open the way") as caught:
        client.send("POST", "/login", json={})
    assert "pw" not in caught.value.message


def test_a_proxy_that_speaks_tls_must_prove_its_name(
    serve: Serve, connect: Connect, certificate: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = certificate()
    server = serve(keep_alive, own.context)
    monkeypatch.setenv("HTTPS_PROXY", f"https://user:pw@127.0.0.1:{server.port}")
    with pytest.raises(NotSent):
        connect("https://ksc.example:13299", fingerprints=(OTHER,)).send("GET", "/")
    assert server.requests == []


def test_a_server_without_tls_is_not_reached_and_presents_nothing(
    serve: Serve, connect: Connect
) -> None:
    server = serve(lambda peer: peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    with pytest.raises(NotSent, match="the TLS connection failed"):
        connect(server.url.replace("http:", "https:")).send("GET", "/")
    with pytest.raises(NotSent, match="presented no certificate"):
        certificate_of("127.0.0.1", server.port)
    with pytest.raises(NotSent, match=r"\[::1\]:1 presented"):
        certificate_of("::1", 1)


def test_a_fingerprint_is_read_without_trusting_anything(serve: Serve, certificate: Make) -> None:
    own = certificate(days=-1)
    server = serve(keep_alive, own.context)
    assert certificate_of("127.0.0.1", server.port).fingerprint == own.fingerprint
    assert server.requests == []
    assert fingerprint(own.der) == own.fingerprint


@pytest.mark.parametrize("text", ["", "sha256:", "md5:" + "a" * 64, "sha256:" + "g" * 64, "a" * 64])
def test_a_fingerprint_names_its_kind_and_has_64_digits(text: str) -> None:
    with pytest.raises(ValueError, match="This is not a fingerprint"):
        normal_fingerprint(text)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b"-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\n\xff\n-----END CERTIFICATE-----\n",
    ],
)
def test_a_pinned_file_must_hold_a_certificate(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "klserver.cer"
    with pytest.raises(ConfigError, match=r"klserver.cer: the certificate file cannot be read"):
        trust_methods((path,), ())
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"klserver.cer: .*in PEM or DER form"):
        trust_methods((path,), ())


def test_the_systems_authorities_can_be_named_by_the_environment(
    tmp_path: Path, certificate: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = certificate()

    def count() -> int:
        (only,) = trust_methods((), ())
        assert only.match_name
        return only.context.cert_store_stats()["x509"]

    assert count() > 50
    monkeypatch.setenv("SSL_CERT_FILE", str(own.pem))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))
    assert count() == 1
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path))
    assert count() == 0
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "missing.pem"))
    with pytest.raises(ConfigError, match="REQUESTS_CA_BUNDLE"):
        count()


def test_a_certificate_tells_when_it_ends(serve: Serve, certificate: Make) -> None:
    own, ended = certificate(days=30), certificate(days=-1)
    seen = certificate_of("127.0.0.1", serve(keep_alive, own.context).port)
    assert seen.fingerprint == own.fingerprint
    assert seen.expires is not None
    assert timedelta(days=29) < seen.expires - datetime.now(UTC) <= timedelta(days=30)
    assert not seen.expired
    seen = certificate_of("127.0.0.1", serve(keep_alive, ended.context).port)
    assert (seen.fingerprint, seen.expires, seen.expired) == (ended.fingerprint, None, True)


def test_a_server_that_is_gone_before_the_second_look_tells_no_date(
    serve: Serve, certificate: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = certificate()
    server = serve(keep_alive, own.context)

    def refuse(*_: object, **__: object) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr("kisi.transport.trust.socket.create_connection", refuse)
    seen = certificate_of("127.0.0.1", server.port)
    assert (seen.fingerprint, seen.expires, seen.expired) == (own.fingerprint, None, False)
    with pytest.raises(NotSent):
        certificate_of("127.0.0.1", 1)
