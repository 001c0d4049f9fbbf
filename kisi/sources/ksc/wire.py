"""Security Center's JSON: how its types look on the wire, its login header, its errors. Pure.

Inside containers and arrays, types that JSON cannot tell apart are wrapped as
`{"type": "long", "value": 5}`; the arguments of a call themselves are bare
(https://support.kaspersky.com/help/KSC/14/KSCAPI/index.html, "Data format").
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar

from kisi.errors import Incomplete, LoginRefused, SourceError
from kisi.redaction import remote_text

_E = TypeVar("_E", bound=SourceError)
_LONGEST = 200

Params = dict[str, Any]
"""A container, decoded: attribute to value. Attributes without a value are absent."""


def authorization(user: str, password: str, domain: str, *, internal: bool) -> str:
    """The value of `Authorization`, in the form of Kaspersky's own client (KlAkOAPI).

    An `internal` user is one of Security Center itself, not one of Windows or a domain.
    """
    return (
        f'KSCBasic user="{encoded_name(user)}", pass="{encoded_name(password)}", '
        f'domain="{domain}", internal="{int(internal)}"'
    )


def encoded_name(text: str) -> str:
    """Base64 of the UTF-8 of `text`, as headers carry names."""
    return base64.b64encode(text.encode()).decode("ascii")


class Unreadable(NamedTuple):
    """What a wrapped value became that is not of the type that it claims."""

    value: object

    def __str__(self) -> str:
        return str(self.value)


def decode(value: Any) -> Any:  # noqa: ANN401  any JSON value
    """Unwraps all values inside a JSON value. Instants become aware, in UTC; `""` becomes None.

    A value that cannot be read stays as `Unreadable`, so that who needs it can name it.
    """
    if isinstance(value, list):
        return [decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"type", "value"} and value["type"] in ("long", "datetime", "params"):
        try:
            return _unwrapped(value["type"], value["value"])
        except (ValueError, OverflowError):
            return Unreadable(value["value"])
    return {name: decode(item) for name, item in value.items()}


def _unwrapped(kind: str, value: object) -> object:
    if kind == "params" and isinstance(value, dict):
        return {name: decode(item) for name, item in value.items()}
    if kind == "long" and (isinstance(value, str) or type(value) is int):
        return int(value)
    if kind == "datetime" and (value is None or value == ""):
        return None
    if kind == "datetime" and isinstance(value, str):
        parsed = datetime.fromisoformat(value)
        return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    raise ValueError(kind)


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


class Unavailable(SourceError):
    """The server is too busy or not ready yet: waiting may help."""

    wait: float | None = None
    """Seconds after which it wants to be asked again, if it says so."""


class Unanswered(Incomplete):
    """The server's answer never came: it may have done what it was asked, or never have seen it."""


class PasswordRefused(LoginRefused):
    """The password itself is wrong or the account blocked: one more login could lock it."""


class ServerLabel(NamedTuple):
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


class _Meaning(NamedTuple):
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
    1195: _Meaning(Unavailable, "it is not available for {method} ({detail})."),
    1453: _WRONG_LOGIN,  # KLWAT LOGON_IFAILED
    1454: _WRONG_LOGIN,  # KLWAT BA_WEB_TOKEN_FAILED
    2013: _Meaning(  # SPL ACCOUNT_BLOCKED
        PasswordRefused,
        "the account is blocked after too many wrong passwords ({detail}). kisi did not try again.",
        "Unblock the account in Security Center. " + CHECK_LOGIN,
    ),
}
_OTHER = _Meaning(Incomplete, "{method} failed ({detail}).")


def problem_in(label: ServerLabel, method: str, document: Params) -> SourceError | None:
    """The error that a decoded answer reports, if it does, with HTTP status 200 (KSC/15 a00337)."""
    reported = document.get("PxgError")
    if reported is None:
        return None
    fields = reported if isinstance(reported, dict) else {"message": str(reported)}
    code = fields.get("code")
    code = code if isinstance(code, int) else 0
    meaning = _MEANINGS.get(code, _OTHER)
    module = remote_text(str(fields.get("module", "")), 20)
    message = remote_text(str(fields.get("message", "")), _LONGEST)
    detail = f'{code} {module}: "{message}"'
    what = meaning.what.format(method=method, detail=detail)
    return label.error(meaning.kind, what, meaning.remedy)
