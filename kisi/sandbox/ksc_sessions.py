"""Logins, sessions and result sets of the simulated Administration Server.

A session is either bound to a token (`Session.StartSession`, header `X-KSC-Session`) or to the TCP
connection (`/login`). It belongs to one virtual server, takes one request at a time, and owns
iterators and accessors, which end with it
(https://support.kaspersky.com/help/KSC/16/KSCAPI/a00608.html).
"""

from __future__ import annotations

import base64
import hashlib
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from kisi.sandbox.ksc_records import Params, PxgError, VirtualServer

_PARAMETER = re.compile(r'(\w+)\s*=\s*(?:"([^"]*)"|([^,\s]*))')


class Refused(Exception):
    """Login, session or protocol failed: an HTTP status with plain text.

    Args:
        status: The HTTP status.
        text: The body.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(slots=True)
class ResultSet:
    """What an iterator or accessor reads from: rows as they were when it was made."""

    rows: list[Params]
    announced: int
    """The count that the server named; more than there are rows where a list is cut."""
    expires: datetime
    repeat_page: bool = False
    """The second page is the first again."""
    dies_after: int | None = None
    """After so many pages it no longer exists."""
    position: int = 0
    pages: int = 0

    def next_page(self, count: int) -> list[Params]:
        """The page after the last one: how an iterator reads.

        Raises:
            PxgError: The result set has died.
        """
        if self._turn():
            return self.rows[:count]
        page = self.rows[self.position : self.position + count]
        self.position += len(page)
        return page

    def page_at(self, start: int, count: int) -> list[Params]:
        """The page from `start`: how an accessor reads.

        Raises:
            PxgError: The result set has died.
        """
        start = 0 if self._turn() else start
        return self.rows[start : start + count]

    def _turn(self) -> bool:
        """Count a page; whether it is to be the first one again."""
        if self.dies_after is not None and self.pages >= self.dies_after:
            raise gone("iterator or accessor")
        self.pages += 1
        return self.repeat_page and self.pages == 2


@dataclass(slots=True)
class Session:
    """A login on one virtual server."""

    token: str
    server: VirtualServer
    last_used: datetime
    calls_left: int | None = None
    """After so many calls the server forgets it (once it has ended, at once); None: never."""
    results: dict[str, ResultSet] = field(default_factory=dict)
    busy: threading.Lock = field(default_factory=threading.Lock)

    def count_call(self) -> None:
        """Count a call.

        Raises:
            Refused: The session has ended, or was forgotten.
        """
        if self.calls_left == 0:
            raise Refused(403, "Forbidden")
        if self.calls_left is not None:
            self.calls_left -= 1

    def result(self, identifier: str, now: datetime) -> ResultSet:
        """A result set of this session by its opaque name.

        Raises:
            PxgError: There is none, or its time is over.
        """
        found = self.results.get(identifier)
        if found is None or found.expires < now:
            raise gone("iterator or accessor")
        return found


def gone(what: str) -> PxgError:
    """The error for something that no longer exists."""
    return PxgError(1125, "KLPRSS", f"The {what} does not exist.")


@dataclass(slots=True)
class Account:
    """The account that may log in."""

    user: str = "kisi"
    password: str = "sandbox-ksc-password"  # noqa: S105 - of the simulated server
    internal: bool = True
    """An internal user of the server, not one of a Windows domain."""
    lockout_after: int = 5
    """So many wrong passwords block the account."""
    wrong_passwords: int = 0
    two_step: bool = False
    """Two-step verification is required of it, and a password alone is refused."""

    def admit(self, authorization: str) -> None:
        """Check an Authorization header.

        Raises:
            Refused: Not KSCBasic, or user, password or kind of user are wrong.
            PxgError: The account is blocked, even for the right password.
        """
        given = parse_basic(authorization)
        if self.wrong_passwords >= self.lockout_after:
            raise PxgError(2013, "SPL", "The account is blocked: too many wrong passwords.")
        if given.get("user") != self.user or given.get("pass") != self.password:
            self.wrong_passwords += 1
            raise Refused(401, "Authentication failure")
        if self.two_step:
            raise Refused(401, "Authentication failure")
        internal = given.get("internal", "").lower()
        if internal and internal not in ({"1", "true"} if self.internal else {"0", "false"}):
            raise Refused(401, "Authentication failure")
        self.wrong_passwords = 0


def parse_basic(authorization: str) -> dict[str, str]:
    """The parameters of `KSCBasic user="...", pass="...", domain="", internal="1"`.

    Clients differ: `domain` and `internal` may be missing, and values may stand without quotes.

    Raises:
        Refused: It is another scheme, or user or password are not Base64 of UTF-8.
    """
    scheme, _, rest = authorization.partition(" ")
    given = {name.lower(): quoted or bare for name, quoted, bare in _PARAMETER.findall(rest)}
    if scheme.lower() != "kscbasic" or not {"user", "pass"} <= given.keys():
        raise Refused(401, "Authentication failure")
    for name in ("user", "pass"):
        given[name] = decode_base64(given[name])
    return given


def decode_base64(text: str) -> str:
    """Decode Base64 of UTF-8.

    Raises:
        Refused: It is not that.
    """
    try:
        return base64.b64decode(text, validate=True).decode()
    except ValueError as error:
        raise Refused(401, "Authentication failure") from error


@dataclass(slots=True)
class Sessions:
    """The sessions of one Administration Server."""

    idle: timedelta = timedelta(minutes=3)
    """Unused for longer, a session is forgotten."""
    open: dict[str, Session] = field(default_factory=dict)
    """Neither ended nor forgotten, by token."""
    made: int = 0

    def start(self, server: VirtualServer, now: datetime, twists: Mapping[str, Any]) -> Session:
        """Begin a session; the twist `dies_after` limits its calls."""
        session = Session(self.name("session"), server, now, twists.get("dies_after"))
        self.open[session.token] = session
        return session

    def find(self, token: str, now: datetime) -> Session:
        """The session of a token; counts the call.

        Raises:
            Refused: It was never begun, was ended, or has been forgotten.
        """
        session = self.open.get(token)
        if session is None:
            raise Refused(403, "Forbidden")
        if session.calls_left == 0 or now - session.last_used > self.idle:
            self.end(session)
        session.count_call()
        session.last_used = now
        return session

    def end(self, session: Session) -> None:
        """End a session, however it was begun: its connection is none the wiser."""
        session.calls_left = 0
        self.open.pop(session.token, None)

    def name(self, kind: str) -> str:
        """The next opaque name."""
        self.made += 1
        digest = hashlib.sha256(f"{kind} {self.made}".encode()).digest()
        return base64.b64encode(digest[:16]).decode()
