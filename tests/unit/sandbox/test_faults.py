from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import requests

from kisi.sandbox import faults
from kisi.sandbox.faults import Faults
from kisi.sandbox.http import Exchange
from tests.conftest import KILLED, posix_signals


class Vendor(faults.Vendor):
    """Counts what it did."""

    def __init__(self) -> None:
        super().__init__("vendor", lambda: datetime.now(UTC))
        self.faults = Faults()
        self.applied = 0
        self.server = self.serve(faults=self.faults)

    def handle(self, exchange: Exchange) -> None:
        self.applied += 1
        exchange.respond(200, {"applied": self.applied, "twists": exchange.twists})

    def get(self, path: str = "/x", **how) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False
            return session.get(self.server.url + path, **{"timeout": 10} | how)


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    made = Vendor()
    with made.server:
        yield made


def test_a_fault_strikes_as_often_as_it_was_set_to_after_letting_some_pass(vendor):
    fault = vendor.faults.add("status", match="GET /x", times=2, after=1, code=503)

    statuses = [vendor.get(path).status_code for path in ("/x", "/X", "/x", "/x", "/x")]

    assert statuses == [200, 200, 503, 503, 200]
    assert (fault.seen, fault.fired, vendor.applied) == (4, 2, 3)
    assert vendor.faults.fired() == vendor.faults.fired("status") == 2
    assert vendor.faults.unfired == []


def test_one_request_is_struck_by_one_fault_and_hooks_come_along(vendor):
    hooked = []
    vendor.faults.add("status", match="*", code=500)
    vendor.faults.add("status", match="*", code=502)
    vendor.faults.add("call", match="*", function=lambda: hooked.append(vendor.applied))

    assert [vendor.get().status_code for _ in range(3)] == [500, 502, 200]
    assert hooked == [0]


def test_unfired_switches_are_told_and_can_be_cleared(vendor):
    vendor.faults.add("html", match="POST *")
    for_ever = vendor.faults.add("empty", match="GET *", times=None)
    vendor.get()
    vendor.get()

    assert [fault.kind for fault in vendor.faults.unfired] == ["html"]
    assert for_ever.fired == 2
    vendor.faults.clear()
    assert vendor.get().json()["applied"] == 1


def test_wrong_kinds_and_options_are_refused_when_they_are_set():
    faults = Faults()
    with pytest.raises(KeyError):
        faults.add("explode", match="*")
    with pytest.raises(TypeError):
        faults.add("status", match="*", cod=500)
    with pytest.raises(ValueError, match="before, applied or answered"):
        faults.add("kill", match="*", pid=1, when="later")


@pytest.mark.parametrize("kind", ["reset_before", "lost"])
def test_a_reset_connection_does_not_tell_whether_the_vendor_acted(vendor, kind):
    vendor.faults.add(kind, match="*")

    with pytest.raises(requests.ConnectionError):
        vendor.get()

    assert vendor.applied == (1 if kind == "lost" else 0)
    assert [logged.status for logged in vendor.server.log] == [None]


@pytest.mark.parametrize("applied", [False, True])
@pytest.mark.parametrize("kind", ["status", "empty", "garbage", "hang"])
def test_wrong_answers_can_hide_that_the_vendor_acted(vendor, kind, applied):
    options = {"status": {"code": 500, "body": {"code": "x"}}, "hang": {"seconds": 0}}
    vendor.faults.add(kind, match="*", applied=applied, **options.get(kind, {}))

    if kind == "hang":
        with pytest.raises(requests.ConnectionError):
            vendor.get()
    else:
        answer = vendor.get()
        expected = {"status": b'{"code": "x"}', "empty": b"", "garbage": b"\x00\xff\xfe not JSON"}
        assert answer.content == expected[kind]

    assert vendor.applied == int(applied)


def test_a_hanging_server_runs_into_the_clients_time_out(vendor):
    vendor.faults.add("hang", match="*", seconds=60)

    with pytest.raises(requests.ReadTimeout):
        vendor.get(timeout=0.2)


@pytest.mark.parametrize("kind", ["truncate", "chunk_cut"])
def test_a_cut_body_is_noticed_by_the_client(vendor, kind):
    vendor.faults.add(kind, match="*")

    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        vendor.get()

    assert vendor.applied == 1


def test_a_body_cut_by_the_end_of_the_connection_arrives_as_broken_json(vendor):
    vendor.faults.add("close_cut", match="*")

    answer = vendor.get()

    assert answer.status_code == 200
    with pytest.raises(requests.JSONDecodeError):
        answer.json()


def test_a_slow_answer_is_whole_and_a_dripping_one_is_padded(vendor):
    vendor.faults.add("slow", match="*", seconds=0.05)
    vendor.faults.add("drip", match="*", delay=0.0005, length=60)
    vendor.faults.add("drip", match="*", delay=0, length=60, head=True)

    began = time.monotonic()
    assert vendor.get().json()["applied"] == 1
    assert time.monotonic() - began >= 0.05
    assert [len(vendor.get().content) for _ in range(2)] == [60, 60]


def test_a_dripping_answer_ends_with_the_server():
    vendor = Vendor()
    vendor.faults.add("drip", match="*", delay=30)
    with vendor.server, requests.Session() as session:
        answer = session.get(vendor.server.url, stream=True, timeout=10)
        assert answer.raw.read(1) == b"{"
        vendor.server.close()
        answer.close()


def test_a_maintenance_page_is_html_with_status_200(vendor):
    vendor.faults.add("html", match="*")

    answer = vendor.get()

    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "maintenance" in answer.text
    assert vendor.applied == 0


def test_huge_bodies_are_huge_and_may_be_small_on_the_wire(vendor):
    vendor.faults.add("huge", match="*", length=200_000)
    vendor.faults.add("huge", match="*", length=200_000, compressed=True)
    vendor.faults.add("garbage", match="*", compressed=True)

    assert len(vendor.get().content) == 200_000
    packed = vendor.get()
    assert len(packed.content) == 200_000
    assert int(packed.headers["Content-Length"]) < 1000
    with pytest.raises(requests.exceptions.ContentDecodingError):
        vendor.get()


def test_a_twist_is_handed_to_the_vendor(vendor):
    vendor.faults.add("twist", match="*", cut=3)

    assert vendor.get().json()["twists"] == {"cut": 3}


CLIENT = """
import sys, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
opener.open(sys.argv[1], timeout=30).read()
"""


@pytest.mark.parametrize(
    ("when", "signal_", "applied"),
    [
        ("before", None, 0),
        ("applied", None, 1),
        pytest.param("before", signal.SIGTERM, 1, marks=posix_signals),
    ],
)
def test_the_client_is_killed_before_or_after_the_vendor_acted(vendor, when, signal_, applied):
    client: list[subprocess.Popen[bytes]] = []
    vendor.faults.add("kill", match="*", pid=lambda: client[0].pid, when=when, signal=signal_)
    # The request waits for this, so that the process is known by then.
    vendor.faults.add("call", match="*", function=lambda: wait_for(client))

    with subprocess.Popen([sys.executable, "-c", CLIENT, vendor.server.url]) as process:
        client.append(process)
        status = process.wait(timeout=30)

    assert status == (-signal_ if signal_ else KILLED)
    assert wait_for(vendor.server.log)
    assert vendor.applied == applied


def test_a_client_that_was_answered_is_killed_afterwards(vendor):
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    with process:
        vendor.faults.add("kill", match="*", pid=process.pid, when="answered")

        assert vendor.get().status_code == 200
        assert process.wait(timeout=30) == KILLED


def wait_for(filled: list[object]) -> bool:
    ends = time.monotonic() + 30
    while not filled and time.monotonic() < ends:
        time.sleep(0.005)
    return bool(filled)


def _raw(vendor: Vendor, path: str = "/x") -> bytes:
    """All that the server sends to one request."""
    with socket.create_connection(("127.0.0.1", vendor.server.port), timeout=10) as plain:
        plain.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        return b"".join(iter(lambda: plain.recv(65536), b""))


def test_an_answer_can_be_announced_by_interim_ones(vendor):
    vendor.faults.add("interim", match="*", count=2, headers={"Link": "</a>; rel=preload"})

    hint = b"HTTP/1.1 103 Interim\r\nLink: </a>; rel=preload\r\n\r\n"
    assert _raw(vendor).startswith(hint * 2 + b"HTTP/1.1 200 OK\r\n")


def test_a_surplus_answer_comes_before_the_right_one(vendor):
    vendor.faults.add("surplus", match="*", body={"late": 1})

    sent = _raw(vendor)

    assert sent.count(b"HTTP/1.1 200 OK") == 2
    assert sent.index(b'{"late": 1}') < sent.index(b'"applied": 1')


def test_a_misrouted_request_is_answered_as_another_one(vendor):
    seen = []
    vendor.handle_again = vendor.handle
    vendor.server._handle = lambda exchange: (
        seen.append((exchange.path, exchange.query)),
        vendor.handle_again(exchange),
    )
    vendor.faults.add("misrouted", match="GET /x/1", old="1", new="2")

    vendor.get("/x/1?id=1")

    assert seen == [("/x/2", {"id": "2"})]
    assert [logged.path for logged in vendor.server.log] == ["/x/1"]
