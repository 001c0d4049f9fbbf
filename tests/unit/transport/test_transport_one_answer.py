"""A request gets its own answer: what announces an answer is skipped, what is surplus ends it."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from kisi.errors import AnswerLost, TransportError
from kisi.transport import Retry

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.transport.raw_server import Certificate, Connect, Peer, Serve

HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
INTERIM = {
    "100": b"HTTP/1.1 100 Continue\r\n\r\n",
    "102": b"HTTP/1.1 102 Processing\r\n\r\n",
    "103": HINTS,
    "199": b"HTTP/1.1 199 Anything\r\nX: 1\r\n\r\n",
    "several": HINTS * 3 + b"HTTP/1.1 100 Continue\r\n\r\n" + HINTS,
}


def answer(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


def chunked(body: bytes) -> bytes:
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    return head + f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"


def numbered(before: bytes = b"", after: bytes = b"", form: Callable[[bytes], bytes] = answer):
    """A script that answers each request of the first connection with its path, and more."""

    def script(peer: Peer) -> None:
        while request := peer.request():
            own = b'"' + request.split()[1] + b'"'
            first = peer.number == 1
            peer.send((before if first else b"") + form(own) + (after if first else b""))

    return script


@pytest.mark.parametrize("form", [answer, chunked])
@pytest.mark.parametrize("before", INTERIM.values(), ids=INTERIM)
def test_interim_answers_are_no_answers(serve: Serve, connect: Connect, before, form) -> None:
    server = serve(numbered(before, form=form))
    client = connect(server.url)
    for path in ("/a", "/b", "/c"):
        found = client.send("POST", path, json={})
        assert (found.status, found.json()) == (200, path)
        assert "Link" not in found.headers
    assert server.connections == 1


@pytest.mark.parametrize(
    "before",
    [
        INTERIM["100"] * 200,
        HINTS * 200,
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n",
    ],
    ids=["100", "103", "101"],
)
def test_a_server_that_only_announces_gives_no_answer(
    serve: Serve, connect: Connect, before: bytes
) -> None:
    server = serve(numbered(before))
    client = connect(server.url)
    with pytest.raises(AnswerLost, match="what it sent is no single answer"):
        client.send("POST", "/a", json={})
    assert client.send("POST", "/b", json={}).json() == "/b"
    assert server.connections == 2


def test_a_connection_that_ends_among_interim_answers_gave_none(
    serve: Serve, connect: Connect
) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(HINTS)

    with pytest.raises(AnswerLost, match="broke the connection off"):
        connect(serve(script).url).send("POST", "/a", json={})


@pytest.mark.parametrize("form", [answer, chunked])
@pytest.mark.parametrize("secure", [False, True])
def test_two_answers_to_one_request_are_none_and_nothing_is_left_of_them(
    serve: Serve, connect: Connect, certificate, form, secure: bool
) -> None:
    """The second one would be read as the answer to the next request."""
    shown: Certificate = certificate()
    script = numbered(after=form(b'"of another"'), form=form)
    server = serve(script, shown.context if secure else None)
    client = connect(server.url, **(_pinned(shown) if secure else {}))
    with pytest.raises(AnswerLost, match="what it sent is no single answer"):
        client.send("POST", "/a", json={})
    assert client.send("POST", "/b", json={}).json() == "/b"
    assert server.connections == 2


def test_a_read_with_two_answers_is_asked_again_on_a_new_connection(
    serve: Serve, connect: Connect
) -> None:
    server = serve(numbered(before=answer(b'"of another"')))
    found = connect(server.url).send("GET", "/a", retry=Retry.READ)
    assert (found.json(), server.connections) == ("/a", 2)


def test_a_large_surplus_is_not_read_as_answers(serve: Serve, connect: Connect) -> None:
    server = serve(numbered(after=answer(b'"of another"') * 5_000))
    client = connect(server.url)
    with pytest.raises(AnswerLost):
        client.send("POST", "/a", json={})
    assert client.send("POST", "/b", json={}).json() == "/b"


def test_blanks_after_an_answer_only_end_the_connection(serve: Serve, connect: Connect) -> None:
    server = serve(numbered(after=b"\r\n"))
    client = connect(server.url)
    assert client.send("POST", "/a", json={}).json() == "/a"
    assert client.send("POST", "/b", json={}).json() == "/b"
    assert server.connections == 2


@pytest.mark.parametrize("secure", [False, True])
def test_what_comes_after_an_answer_was_read_is_no_answer_to_the_next_request(
    serve: Serve, connect: Connect, certificate, secure: bool
) -> None:
    shown: Certificate = certificate()
    waiting: list[Peer] = []

    def script(peer: Peer) -> None:
        waiting.append(peer)
        while request := peer.request():
            peer.send(answer(b'"' + request.split()[1] + b'"'))

    server = serve(script, shown.context if secure else None)
    client = connect(server.url, **(_pinned(shown) if secure else {}))
    assert client.send("POST", "/a", json={}).json() == "/a"
    waiting[0].send(answer(b'"of another"'))
    assert client.send("POST", "/b", json={}).json() == "/b"
    assert server.connections == 2


def _pinned(shown: Certificate):
    return {"fingerprints": (shown.fingerprint,)}


WHOLE = [
    answer(b'{"a": [1, 2]}'),
    chunked(b'{"a": [1, 2]}'),
    HINTS + answer(b"{}"),
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n" + b"4\r\n\x1f\x8b\x08\x00\r\n0\r\nX: y\r\n\r\n",
]
PIECES = [
    b"\r\n",
    b"\0",
    b"-",
    b"9" * 25,
    b"\xff",
    b":",
    b" ",
    b";",
    b"chunked",
    b"gzip",
    b"f" * 18,
]


def _mutated(chance: random.Random) -> bytes:
    """A whole answer with a few bytes cut out, doubled, or replaced by what breaks parsers."""
    data = chance.choice(WHOLE)
    for _ in range(chance.randint(1, 3)):
        at, end = sorted(chance.choices(range(len(data) + 1), k=2))
        end = min(end, at + chance.randint(0, 12))
        data = (
            data[:at] + chance.choice([b"", data[at:end] * 2, chance.choice(PIECES)]) + data[end:]
        )
    return data


def test_no_bytes_of_a_server_are_an_error_of_the_program(serve: Serve, connect: Connect) -> None:
    chance = random.Random(12)
    broken = [_mutated(chance) for _ in range(400)]
    waiting = iter(broken)

    def script(peer: Peer) -> None:
        if peer.request():
            peer.send(next(waiting))

    client = connect(serve(script).url)
    seen: Counter[str] = Counter()
    for sent in broken:
        try:
            client.send("POST", "/a", json={})
            seen["Answer"] += 1
        except TransportError as error:
            seen[type(error).__name__] += 1
        except Exception as error:
            raise AssertionError(f"{sent!r}") from error
        client.close()
    assert seen["AnswerLost"] > 50
    assert seen["Answer"] > 50
    assert "NotSent" not in seen
