"""What a `Client` does on real sockets: whole answers, deadlines, repeats."""

from __future__ import annotations

import gzip
import http.client
import logging
import socket
import threading
from typing import TYPE_CHECKING

import pytest
import requests
import responses
import urllib3.exceptions

from kisi import __version__
from kisi.errors import AnswerLost, BadAnswer, NotSent
from kisi.transport import Limits, Retry

if TYPE_CHECKING:
    from tests.unit.transport.raw_server import Connect, FakeClock, Peer, Serve

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def hanging_up(*answers: bytes):
    """A script that gives each connection's request the next of `answers`, then hangs up."""
    waiting = iter(answers)

    def script(peer: Peer) -> None:
        if peer.request():
            peer.send(next(waiting))

    return script


def answering(*answers: bytes):
    """A script that gives each request the next of `answers` and keeps the connection."""
    waiting = iter(answers)

    def script(peer: Peer) -> None:
        while peer.request():
            peer.send(next(waiting))

    return script


def test_one_connection_carries_many_requests(serve: Serve, connect: Connect) -> None:
    def script(peer: Peer) -> None:
        while peer.request():
            peer.answer(b'{"a": 1}', "200 OK", "X-Thing: yes", "Set-Cookie: tied=1; Path=/")

    server = serve(script)
    client = connect(server.url + "/api/", headers={"X-Own": "1"})
    answer = client.send("POST", "/v1/Thing", json={"b": 2}, params={"q": "x y"})
    client.send("GET", "v1/Thing", headers={"X-Own": "2"}, body=b"raw")
    assert answer.json() == {"a": 1}
    assert answer.headers["x-thing"] == "yes"
    assert server.connections == 1
    first, second = server.requests
    assert first.startswith(b"POST /api/v1/Thing?q=x+y HTTP/1.1\r\n")
    assert first.endswith(b'\r\n\r\n{"b": 2}')
    assert f"User-Agent: kisi/{__version__}".encode() in first
    assert b"Content-Type: application/json" in first
    assert b"X-Own: 2" in second
    assert b"Cookie" not in second
    assert second.endswith(b"\r\n\r\nraw")


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://ksc.example:13299/", ("ksc.example", 13299)),
        ("https://psa.example/api", ("psa.example", 443)),
        ("http://[::1]", None),  # without a certificate to look at
    ],
)
def test_a_client_knows_its_servers_address(
    connect: Connect, url: str, address: tuple[str, int] | None
) -> None:
    assert connect(url).address == address


def test_each_try_is_signed_anew(serve: Serve, connect: Connect) -> None:
    server = serve(
        hanging_up(OK + b"Content-Length: 9\r\n\r\n{", OK + b"Content-Length: 2\r\n\r\n{}")
    )
    numbers = iter("12")
    client = connect(server.url)
    client.send(
        "GET",
        "/a",
        params={"q": 1},
        retry=Retry.READ,
        sign=lambda method, path: {"X-Sign": f"{method} {path} {next(numbers)}"},
    )
    assert b"X-Sign: GET /a 1" in server.requests[0]
    assert b"X-Sign: GET /a 2" in server.requests[1]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_no_redirect_is_followed(serve: Serve, connect: Connect, status: int) -> None:
    where = f"http://127.0.0.1:1/{'x' * 10}"
    server = serve(
        lambda peer: peer.request() and peer.answer(b"", f"{status} X", f"Location: {where}")
    )
    answer = connect(server.url).send("POST", "/a", json={}, headers={"Authorization": "secret"})
    assert answer.status == status
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "cut",
    [
        OK + b'Content-Length: 100\r\n\r\n{"a": 1}',
        OK + b"Transfer-Encoding: chunked\r\n\r\n8\r\n" + b'{"a": 1}' + b"\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n8\r\n" + b'{"a"',
        OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + b'{"a"',
        OK + b"Transfer-Encoding: chunked\r\n\r\n-2\r\n" + b'{"a"',
        OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 30 + b"\r\n{}",
        OK + b"Transfer-Encoding: chunked\r\n\r\n2;\xff\r\n{}",
        OK + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n{}",
        b"HTTP/1.1 99999 X\r\n\r\n",
        b"HTTP/1.1 2\xb200 X\r\n\r\n",
        OK + b"X: y\r\n" * 200 + b"\r\n{}",
        OK + b"X: " + b"y" * 70000 + b"\r\n\r\n{}",
        OK + b"Content-Length: 7, 9\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Ty",
        b"",
        b"SSH-2.0-OpenSSH\r\n",
    ],
)
def test_an_answer_that_is_not_whole_is_lost(serve: Serve, connect: Connect, cut: bytes) -> None:
    server = serve(hanging_up(cut))
    with pytest.raises(
        AnswerLost, match=r"Source hq: 127.0.0.1:\d+ gave no whole answer to POST /a"
    ):
        connect(server.url).send("POST", "/a?secret=1", json={})
    assert len(server.requests) == 1


def test_a_close_delimited_body_that_is_cut_is_read_again(
    serve: Serve, connect: Connect, clock: FakeClock
) -> None:
    server = serve(hanging_up(OK + b'\r\n{"a": 1, "b', OK + b'\r\n{"a": 1}'))
    assert connect(server.url).send("GET", "/a", retry=Retry.READ).json() == {"a": 1}
    assert clock.slept == [0.5]


def test_a_close_delimited_body_that_stays_cut_is_no_json(serve: Serve, connect: Connect) -> None:
    server = serve(hanging_up(*[OK + b'\r\n{"a": 1, "b'] * 4))
    answer = connect(server.url).send("GET", "/a", retry=Retry.READ)
    assert len(server.requests) == 4
    with pytest.raises(BadAnswer, match="Expected JSON"):
        answer.json()


def test_gzip_is_decoded_and_garbage_is_refused(serve: Serve, connect: Connect) -> None:
    good = gzip.compress(b'{"a": 1}')
    zipped = OK + b"Content-Encoding: gzip\r\n"
    server = serve(
        answering(
            zipped + b"Content-Length: %d\r\n\r\n" % len(good) + good,
            zipped + b"Content-Length: 9\r\n\r\nnot gzip!",
        )
    )
    client = connect(server.url)
    assert client.send("GET", "/a").json() == {"a": 1}
    with pytest.raises(BadAnswer, match="cannot be decompressed"):
        client.send("GET", "/a")


def test_a_huge_body_and_a_gzip_bomb_are_not_read_to_their_end(
    serve: Serve, connect: Connect
) -> None:
    bomb = gzip.compress(b"0" * 30_000_000)

    def script(peer: Peer) -> None:
        while b"/bomb" in peer.request():
            head = OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
            peer.send(head + bomb)
        peer.send(OK + b"\r\n")
        while True:
            peer.send(b"0" * 65536)

    server = serve(script)
    client = connect(server.url, limits=Limits(body=300_000))
    for path in ("/bomb", "/endless"):
        with pytest.raises(BadAnswer, match=f"GET {path}: The answer is larger than 300000 bytes"):
            client.send("GET", path)


@pytest.mark.parametrize("start", [b"", OK, OK + b"Content-Length: 4000\r\n\r\n"])
def test_a_server_that_drips_is_ended_at_the_deadline(
    serve: Serve, connect: Connect, clock: FakeClock, start: bytes
) -> None:
    taken = threading.Semaphore(0)

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(start or b"H")
        while True:
            clock.seconds += 1
            peer.send(b"x")
            taken.acquire(timeout=0.001)

    server = serve(script)
    before = clock.seconds
    with pytest.raises(AnswerLost, match="did not answer in time"):
        connect(server.url, limits=Limits(call=50)).send("POST", "/a", json={})
    assert clock.seconds >= before + 50


def test_a_server_that_hangs_is_left(serve: Serve, connect: Connect) -> None:
    release = threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        release.wait(20)

    server = serve(script)
    with pytest.raises(AnswerLost, match="did not answer in time"):
        connect(server.url, limits=Limits(read=0.05)).send("POST", "/a", json={})
    release.set()


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def test_a_closed_port_is_tried_three_times_in_two_seconds(
    connect: Connect, clock: FakeClock
) -> None:
    client = connect(f"http://127.0.0.1:{closed_port()}")
    with pytest.raises(NotSent, match=r"could not be reached: it refused the connection"):
        client.send("POST", "/a", retry=Retry.UNPROCESSED)
    assert clock.slept == [0.5, 1.0]


def test_an_unknown_name_is_named(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(
        NotSent, match=r"ksc.invalid:13299 could not be reached: its name could not"
    ):
        connect("https://ksc.invalid:13299").send("POST", "/a")


def test_never_is_sent_once_whatever_happens(serve: Serve, connect: Connect) -> None:
    server = serve(hanging_up(b"", b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"))
    client = connect(server.url)
    with pytest.raises(AnswerLost):
        client.send("POST", "/a", json={}, retry=Retry.NEVER)
    assert client.send("POST", "/a", json={}).status == 503
    assert len(server.requests) == 2


def test_a_connection_that_dies_under_a_post_is_not_used_to_send_it_twice(
    serve: Serve, connect: Connect
) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.answer()
        peer.request()
        peer.reset()

    server = serve(script)
    client = connect(server.url)
    client.send("POST", "/first", json={})
    with pytest.raises(AnswerLost):
        client.send("POST", "/second", json={})
    assert [data.split()[1] for data in server.requests] == [b"/first", b"/second"]
    assert server.connections == 1


def test_a_connection_that_the_server_closed_meanwhile_is_replaced_before_sending(
    serve: Serve, connect: Connect
) -> None:
    server = serve(hanging_up(*[OK + b"Content-Length: 2\r\n\r\n{}"] * 2))
    client = connect(server.url)
    client.send("POST", "/first", json={})
    server.wait_for_hang_up()
    client.send("POST", "/second", json={})
    assert len(server.requests) == server.connections == 2


def test_a_write_never_goes_over_a_connection_that_was_idle_for_long(
    serve: Serve, connect: Connect, clock: FakeClock
) -> None:
    def script(peer: Peer) -> None:
        while peer.request():
            peer.answer()

    server = serve(script)
    client = connect(server.url)
    client.send("GET", "/a")
    clock.seconds += 11
    client.send("GET", "/b", retry=Retry.READ)
    assert server.connections == 1
    clock.seconds += 11
    client.send("POST", "/c")
    assert server.connections == 2


def busy(*values: str) -> list[bytes]:
    return [
        b"HTTP/1.1 429 Busy\r\nContent-Length: 0\r\nRetry-After: %s\r\n\r\n" % value.encode()
        for value in values
    ]


@pytest.mark.parametrize("headers", [b"", b"Retry-After: 0\r\n"])
def test_a_rate_limit_is_waited_out_for_the_whole_call(
    serve: Serve, connect: Connect, clock: FakeClock, headers: bytes
) -> None:
    limited = b"HTTP/1.1 429 Busy\r\nContent-Length: 0\r\n" + headers + b"\r\n"
    server = serve(answering(*[limited] * 8, OK + b"Content-Length: 2\r\n\r\n{}"))
    assert connect(server.url).send("GET", "/a", retry=Retry.READ).status == 200
    assert sum(clock.slept) > 60

    server = serve(answering(*[limited] * 40))
    began = clock.seconds
    client = connect(server.url)
    assert client.send("GET", "/a", retry=Retry.READ).status == 429
    assert 85 < clock.seconds - began <= 120
    assert len(server.requests) < 16


@pytest.mark.parametrize(("asked", "waited"), [("2", 2.0), ("soon", 0.5), ("99999", 100.0)])
def test_the_wait_is_what_the_server_asks_for_capped(
    serve: Serve, connect: Connect, clock: FakeClock, asked: str, waited: float
) -> None:
    server = serve(answering(*busy(asked), OK + b"Content-Length: 2\r\n\r\n{}"))
    client = connect(server.url, limits=Limits(retry_after_cap=100))
    assert client.send("POST", "/a", retry=Retry.UNPROCESSED).status == 200
    assert clock.slept == [waited]


def test_a_wait_beyond_the_deadline_is_not_begun(
    serve: Serve, connect: Connect, clock: FakeClock
) -> None:
    server = serve(answering(*busy("99999")))
    client = connect(server.url)
    assert client.send("GET", "/a", retry=Retry.READ).status == 429
    assert clock.slept == []


def test_after_the_run_nothing_is_sent(serve: Serve, connect: Connect) -> None:
    server = serve(answering())
    client = connect(server.url, limits=Limits(run_ends=1000.0))
    with pytest.raises(NotSent, match="the time is over; GET /a was not sent"):
        client.send("GET", "/a", retry=Retry.READ)
    assert server.requests == []


def test_a_read_that_needed_repeats_is_warned_about_once(
    serve: Serve, connect: Connect, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    down = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 5\r\n\r\nsorry"
    server = serve(answering(down, down, down, OK + b"Content-Length: 2\r\n\r\n{}"))
    assert connect(server.url).send("GET", "/a", retry=Retry.READ).status == 200
    assert clock.slept == [0.5, 1.0, 2.0]
    warnings = [item.message for item in caplog.records if item.levelno >= logging.WARNING]
    assert warnings == ["Source hq: GET /a took 4 tries. It answered 502: 'sorry'."]


def test_every_try_is_told_to_the_debug_log_without_query_and_body(
    serve: Serve, connect: Connect, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="kisi")
    down = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 5\r\n\r\nsorry"
    fine = OK + b"Content-Length: 2\r\n\r\n{}"
    client = connect(serve(answering(down, fine)).url)
    client.send("GET", "/a?p=1", params={"q": "2"}, json={"b": 3}, retry=Retry.READ)
    connect(serve(answering(fine)).url, hidden=True).send("POST", "/path-that-is-a-secret")
    with pytest.raises(NotSent):
        connect(f"http://127.0.0.1:{closed_port()}").send("PATCH", "/b")
    *told, unsent = [item.message for item in caplog.records if item.levelno == logging.DEBUG]
    assert told == [
        "Source hq: GET /a: 502 (0 ms)",
        "Source hq: GET /a: 200 (0 ms)",
        "Source hq: POST: 200 (0 ms)",
    ]
    assert unsent.endswith("it refused the connection. PATCH /b was not sent. (0 ms)")


def test_a_read_gives_up_after_four_tries_with_the_last_answer(
    serve: Serve, connect: Connect
) -> None:
    server = serve(answering(*[b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n"] * 4))
    client = connect(server.url)
    assert client.send("GET", "/a", retry=Retry.READ).status == 500
    assert len(server.requests) == 4


def test_each_thread_has_a_connection_of_its_own(serve: Serve, connect: Connect) -> None:
    def script(peer: Peer) -> None:
        while peer.request():
            peer.answer()

    server = serve(script)
    client = connect(server.url)
    threads = [threading.Thread(target=client.send, args=("GET", "/a")) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(server.requests), server.connections) == (3, 3)
    client.close()
    client.send("GET", "/a")
    assert server.connections == 4


@pytest.mark.parametrize(
    ("raised", "means"),
    [
        (requests.ConnectTimeout(), AnswerLost),
        (requests.exceptions.SSLError(), AnswerLost),
        (requests.ReadTimeout(), AnswerLost),
        (requests.ConnectionError("who knows"), AnswerLost),
        (OSError("odd"), AnswerLost),
        (ValueError("odd"), AnswerLost),
        (UnicodeError("odd"), AnswerLost),
        (OverflowError("odd"), AnswerLost),
        (http.client.LineTooLong("odd"), AnswerLost),
        (urllib3.exceptions.HTTPError("odd"), AnswerLost),
    ],
)
@responses.activate
def test_what_is_not_provably_unsent_counts_as_sent(
    connect: Connect, raised: Exception, means: type[Exception]
) -> None:
    responses.get("https://psa.example/a", body=raised)
    with pytest.raises(means):
        connect("https://psa.example").send("GET", "/a")


@pytest.mark.parametrize("bad", ["a\r\nX-Other: b", "a\nb", "\u20ac"])
def test_a_header_that_would_be_two_is_not_sent(serve: Serve, connect: Connect, bad: str) -> None:
    server = serve(answering(OK + b"Content-Length: 2\r\n\r\n{}"))
    client = connect(server.url)
    with pytest.raises(NotSent):
        client.send("POST", "/a", headers={"X-One": bad})
    assert client.send("POST", "/b").status == 200
    assert [request.split()[1] for request in server.requests] == [b"/b"]


def test_repeated_headers_are_one_and_a_compressed_body_may_come_in_chunks(
    serve: Serve, connect: Connect
) -> None:
    body = gzip.compress(b'{"a": 1}')
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    head = (
        OK + b"Link: <a>\r\nlink: <b>\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"
    )
    server = serve(answering(*[head + b"\r\n" + chunks] * 2))
    client = connect(server.url)
    answers = [client.send("GET", "/a") for _ in range(2)]
    assert [(x.json(), x.headers["LINK"]) for x in answers] == [({"a": 1}, "<a>, <b>")] * 2
    assert server.connections == 1


def test_a_mangled_proxy_is_no_way(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://")
    with pytest.raises(NotSent, match="the address or the proxy is not usable"):
        connect("https://psa.example").send("GET", "/a")


def test_a_connection_that_takes_too_long_has_carried_nothing(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(*_: object, **__: object) -> None:
        raise TimeoutError

    monkeypatch.setattr("urllib3.util.connection.create_connection", slow)
    with pytest.raises(NotSent, match="could not be reached: it did not answer in time"):
        connect("https://psa.example").send("GET", "/a")


def test_a_rate_limit_is_every_threads(serve: Serve, connect: Connect, clock: FakeClock) -> None:
    """A write is not sent again by the client; whoever asks next waits for what it was told."""
    server = serve(answering(*busy("7"), OK + b"Content-Length: 2\r\n\r\n{}"))
    client = connect(server.url)
    assert client.send("POST", "/a").status == 429
    assert (clock.slept, client.busy_for()) == ([], 7.0)
    assert client.send("GET", "/b").status == 200
    assert (clock.slept, client.busy_for()) == ([7.0], 0.0)


@pytest.mark.parametrize("asked", ["99999", "soon"])
def test_a_wait_that_no_run_can_sit_out_is_nobody_elses(
    serve: Serve, connect: Connect, clock: FakeClock, asked: str
) -> None:
    server = serve(answering(*busy(asked), OK + b"Content-Length: 2\r\n\r\n{}"))
    client = connect(server.url)
    assert client.send("POST", "/a").status == 429
    assert client.send("POST", "/b").status == 200
    assert clock.slept == []


def test_a_rate_limit_is_not_waited_for_beyond_the_end_of_the_run(
    serve: Serve, connect: Connect, clock: FakeClock
) -> None:
    server = serve(answering(*busy("100"), OK + b"Content-Length: 2\r\n\r\n{}"))
    client = connect(server.url, limits=Limits(run_ends=clock.seconds + 30))
    assert client.send("POST", "/a").status == 429
    with pytest.raises(NotSent, match="the time is over; POST /b was not sent"):
        client.send("POST", "/b")
    assert clock.slept == [30]
    assert client.send("POST", "/end", best_effort=True).status == 200
