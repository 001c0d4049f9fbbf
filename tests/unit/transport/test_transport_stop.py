"""What a stop ends: waits, requests that are not sent yet, and answers that do not come."""

from __future__ import annotations

import threading

import pytest

from kisi.errors import AnswerLost, NotSent
from kisi.transport import Client, Clock, Limits, Retry
from tests.unit.transport.raw_server import Connect, FakeClock, Peer, Serve


@pytest.fixture
def stop() -> threading.Event:
    return threading.Event()


def test_after_a_stop_nothing_is_sent_and_nothing_waited_for(
    serve: Serve, connect: Connect, clock: FakeClock, stop: threading.Event
) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        stop.set()
        peer.answer(b"", "503 Busy", "Retry-After: 100")

    server = serve(script)
    client = connect(server.url, limits=Limits(stop=stop))
    assert client.send("GET", "/a", retry=Retry.READ).status == 503
    with pytest.raises(NotSent, match="the run was stopped; GET /b was not sent"):
        client.send("GET", "/b", retry=Retry.READ)
    assert (len(server.requests), clock.slept) == (1, [])


@pytest.mark.slow
@pytest.mark.parametrize("drips", [False, True], ids=["silent", "dripping"])
def test_an_answer_that_does_not_come_is_not_waited_for_after_a_stop(
    serve: Serve, stop: threading.Event, drips: bool
) -> None:
    over = threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        stop.set()
        while drips and not over.wait(0.05):
            peer.send(b"H")
        over.wait(20)

    server = serve(script)
    client = Client(server.url, limits=Limits(stop=stop), clock=Clock(), label="Source hq")
    try:
        with pytest.raises(AnswerLost, match="it did not answer in time"):
            client.send("GET", "/a", retry=Retry.READ)
        assert len(server.requests) == 1
    finally:
        over.set()
        client.close()


def test_an_answer_that_comes_is_read_also_after_a_stop(
    serve: Serve, connect: Connect, stop: threading.Event
) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        stop.set()
        peer.answer()

    client = connect(serve(script).url, limits=Limits(stop=stop))
    assert client.send("POST", "/login", json={}).status == 200


def test_a_goodbye_is_sent_once_even_after_a_stop_and_the_runs_end(
    serve: Serve, connect: Connect, stop: threading.Event
) -> None:
    def script(peer: Peer) -> None:
        while peer.request():
            peer.answer(b"", "500 Oops")

    stop.set()
    server = serve(script)
    client = connect(server.url, limits=Limits(stop=stop, run_ends=0.0))
    assert client.send("POST", "/end", retry=Retry.READ, best_effort=True).status == 500
    assert len(server.requests) == 1


def test_a_goodbye_has_little_patience() -> None:
    limits = Limits(run_ends=5.0).for_best_effort()
    assert (limits.read, limits.call, limits.attempts, limits.run_ends) == (3.0, 3.0, 1, None)
    assert Limits(read=1.0, call=2.0).for_best_effort().call == 2.0


def test_a_stopped_clock_does_not_wait(stop: threading.Event) -> None:
    stop.set()
    Clock(stop).sleep(3600)
    Clock().sleep(-1)
