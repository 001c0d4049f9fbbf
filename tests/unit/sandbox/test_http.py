from __future__ import annotations

import http.client
import socket
import ssl
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import pytest
import requests

from kisi.sandbox.certificate import Certificate
from kisi.sandbox.http import Exchange, Server


def echo(exchange: Exchange) -> None:
    if exchange.path == "/bug":
        raise RuntimeError("a bug in the vendor")
    exchange.respond(200, {"path": exchange.path, "body": exchange.body.decode()})


def get(url: str, **how) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        return session.get(url, timeout=10, **how)


def test_requests_are_logged_in_order_with_what_was_asked_and_answered():
    with Server("vendor", echo) as server:
        get(f"{server.url}/a%20b?x=1&x=2", headers={"X-Thing": "y"})
        requests.post(f"{server.url}/c", json={"n": 1}, timeout=10)

    first, second = server.log
    assert (first.server, first.method, first.path, first.query) == (
        "vendor",
        "GET",
        "/a b",
        {"x": "2"},
    )
    assert (first.headers["x-thing"], first.status) == ("y", 200)
    assert (second.method, second.json()) == ("POST", {"n": 1})
    assert first.at <= second.at


def test_a_connection_is_kept_and_chunked_bodies_are_read():
    with Server("vendor", echo) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.request("POST", "/x", body=iter([b"ab", b"cd"]), encode_chunked=True)
        assert b"abcd" in connection.getresponse().read()
        own = connection.sock
        connection.request("GET", "/y")
        assert connection.getresponse().read()
        assert connection.sock is own
        connection.close()


def test_the_date_header_shows_the_servers_own_clock():
    then = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)

    with Server("vendor", echo, now=lambda: then) as server:
        date = get(server.url).headers["Date"]

    assert parsedate_to_datetime(date) == then


def test_a_bug_in_a_simulated_vendor_is_answered_with_500_and_raised_at_close():
    server = Server("vendor", echo).start()

    assert get(f"{server.url}/bug").status_code == 500
    with pytest.raises(ExceptionGroup, match="vendor failed") as failure:
        server.close()

    assert [str(error) for error in failure.value.exceptions] == ["a bug in the vendor"]


def test_an_answer_that_cannot_be_sent_is_a_bug_that_close_raises():
    server = Server("vendor", lambda exchange: exchange.respond(200, "", {"X": "東京"})).start()
    with pytest.raises(requests.ConnectionError):
        get(server.url)

    with pytest.raises(ExceptionGroup, match="vendor failed"):
        server.close()


@pytest.mark.parametrize(
    "request_",
    [
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"GET http://[x HTTP/1.1\r\n\r\n",
    ],
)
def test_a_malformed_request_is_refused_and_its_connection_closed(request_: bytes):
    with (
        Server("vendor", echo) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw,
    ):
        raw.sendall(request_)
        answer = b"".join(iter(lambda: raw.recv(4096), b""))

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert server.log == []


def test_an_unanswered_exchange_is_404_and_unknown_statuses_have_a_phrase():
    def handle(exchange: Exchange) -> None:
        if exchange.path == "/odd":
            exchange.respond(599, "text", {"X-Own": "1"})

    with Server("vendor", handle) as server:
        missing, odd = get(f"{server.url}/"), get(f"{server.url}/odd")

    assert (missing.status_code, missing.content) == (404, b"")
    assert (odd.status_code, odd.reason, odd.headers["X-Own"]) == (599, "Unknown", "1")
    assert [logged.status for logged in server.log] == [None, 599]


def test_close_ends_idle_connections_and_a_server_that_never_started():
    Server("never started", echo).close()
    with Server("vendor", echo) as server:
        idle = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        get(server.url)

    with idle:
        assert idle.recv(1) == b""


def test_its_own_certificate_is_refused_unless_pinned_and_its_name_does_not_match(tmp_path):
    certificate = Certificate.make()
    file = tmp_path / "klserver.cer"
    file.write_text(certificate.pem)

    with Server("vendor", echo, tls=certificate) as server:
        assert server.url.startswith("https://")
        presented = ssl.get_server_certificate(("127.0.0.1", server.port), timeout=10)
        with pytest.raises(requests.exceptions.SSLError, match="self-signed"):
            get(server.url)
        with pytest.raises(requests.exceptions.SSLError, match=r"IP address mismatch|match"):
            get(server.url, verify=str(file))

    assert ssl.PEM_cert_to_DER_cert(presented) == certificate.der
    assert server.fingerprint == certificate.fingerprint
    assert server.log == []


def test_a_certificate_with_names_is_accepted_once_its_authority_is_and_can_be_rotated(tmp_path):
    first = Certificate.make(names=["localhost", "127.0.0.1"])
    second = Certificate.make(names=["127.0.0.1"])
    file = tmp_path / "ca.pem"
    file.write_text(first.pem)

    with Server("vendor", echo, tls=first) as server:
        assert get(f"{server.url}/x", verify=str(file)).json()["path"] == "/x"
        server.present(second)
        with pytest.raises(requests.exceptions.SSLError):
            get(server.url, verify=str(file))
        assert server.fingerprint == second.fingerprint != first.fingerprint


def test_an_expired_certificate_has_ended():
    ended = datetime.now(UTC) - timedelta(days=1)

    certificate = Certificate.make(not_after=ended)

    assert abs(certificate.not_after - ended) < timedelta(seconds=2)
    assert certificate.fingerprint.startswith("sha256:")
    assert len(certificate.fingerprint) == 7 + 64
