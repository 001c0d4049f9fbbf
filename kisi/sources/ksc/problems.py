"""What can go wrong with Security Center, as errors that say whose lines stay as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from kisi.errors import Incomplete, LoginRefused, SourceError
from kisi.redaction import remote_text
from kisi.sources.ksc.wire import PxgError

_E = TypeVar("_E", bound=SourceError)
_LONGEST = 200

UNAVAILABLE = 1195
"""The application is not ready yet, or its input and output are suspended."""

CHECK_LOGIN = (
    "Check `user`, the password behind `password`, and `internal_user` (true for a user of "
    "Security Center itself, false for one of Windows or a domain, with `domain`). Try the same "
    "login in the console before the next run."
)
_LATER = (
    "Run kisi again: most troubles of a server pass. If this one stays, `kisi check --online` and "
    "the server's own log say more."
)
NOT_AGAIN = "kisi did not try again, because too many wrong passwords block the account."


class Vanished(Incomplete):
    """A session, key or iterator is gone: reading from the start may help, once."""


class Denied(SourceError):
    """A right is missing or the call is not known: asking again would give the same answer."""


class PasswordRefused(LoginRefused):
    """The password itself is wrong or the account blocked: one more login could lock it."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where something happens: a source, and one of its virtual servers or the main server."""

    source: str
    server: str | None = None
    """The display name of the virtual server; None on the main server."""

    def __str__(self) -> str:
        if self.server is None:
            return f"Source {self.source}, main server"
        return f'Source {self.source}, virtual server "{remote_text(self.server, 80)}"'

    def error(self, kind: type[_E], what: str, remedy: str = "") -> _E:
        """An error of `kind`: where, what, what kisi does not do because of it, what to do now.

        Its `event` is where and what alone.
        """
        effect = (
            "Nothing of this source is billed: the lines of its clients stay as they are."
            if self.server is None
            else "Its client's lines stay as they are."
        )
        event = f"{self}: {what}"
        error = kind(f"{event} {effect}", remedy=remedy or _LATER)
        error.event = event
        return error


@dataclass(frozen=True, slots=True)
class _Meaning:
    kind: type[SourceError]
    what: str
    """A sentence with places for `method` and `detail`."""
    remedy: str = ""


_GONE = _Meaning(Vanished, "what {method} asked for is gone ({detail}).")
_NO_RIGHT = _Meaning(
    Denied,
    'the account lacks the right "Read" on it, which {method} needs ({detail}).',
    "Give the account a role with the right to read (General features: Basic functionality) on "
    "this server.",
)
_WRONG_LOGIN = _Meaning(
    PasswordRefused, "the login was refused ({detail}). " + NOT_AGAIN, CHECK_LOGIN
)
_MEANINGS: Mapping[int, _Meaning] = {
    1125: _GONE,  # KLPRSS NOT_EXIST
    1186: _GONE,  # KLSTD NOTFOUND
    1184: _NO_RIGHT,  # KLSTD NOACCESS
    1193: _NO_RIGHT,  # KLSTD NOTPERM
    1192: _Meaning(Denied, "it did not understand {method} ({detail})."),  # KLSTD BADFORMAT
    1194: _Meaning(  # KLCONN GCR_NO_SUCH_CALL
        Denied,
        "this version of Security Center is too old: it does not know {method} ({detail}).",
        "Update Security Center; kisi needs version 13 or later.",
    ),
    UNAVAILABLE: _Meaning(SourceError, "it is not available for {method} ({detail})."),
    1453: _WRONG_LOGIN,  # KLWAT LOGON_IFAILED
    1454: _WRONG_LOGIN,  # KLWAT BA_WEB_TOKEN_FAILED
    2013: _Meaning(  # SPL ACCOUNT_BLOCKED
        PasswordRefused,
        "the account is blocked after too many wrong passwords ({detail}). kisi did not try again.",
        "Unblock the account in Security Center. " + CHECK_LOGIN,
    ),
}
_OTHER = _Meaning(Incomplete, "{method} failed ({detail}).")


def problem(place: Place, method: str, error: PxgError) -> SourceError:
    """The error that a `PxgError` means (codes: KSC/15 a00337)."""
    meaning = _MEANINGS.get(error.code, _OTHER)
    module, message = remote_text(error.module, 20), remote_text(error.message, _LONGEST)
    detail = f'{error.code} {module}: "{message}"'
    what = meaning.what.replace("{method}", method).replace("{detail}", detail)
    return place.error(meaning.kind, what, meaning.remedy)
