"""The errors that end a run or fail a part of it, and the exit code that each one means.

```
KisiError
├── NoSuchRun            2   the run that is to be reverted does not exist, or changed nothing
├── ConfigError          3   configuration, mapping or secret
├── SourceError          4   a source failed or was incomplete
│   ├── LoginRefused         the server said no to our credentials: never tried again in this run
│   │   └── PasswordRefused      to the password: one more login could block the account
│   ├── Denied               a right is missing: asking again would give the same answer
│   ├── Unavailable          the server is busy or not ready yet: waiting may help
│   ├── OutOfTime            the run's time was up before its turn came
│   ├── Incomplete           a list did not arrive whole: it is not a number
│   │   ├── Vanished             what was read is gone: reading it from the start may help
│   │   └── Unanswered           no answer came: the request may have been lost, or its answer
│   └── Undecided        6   all of it was read; a person must say what is to be billed
├── PsaError             5   a PSA could not be read, or refused us
│   ├── AccessRefused        credentials, rights or the address are wrong
│   ├── Unusable             every further request would fail in the same way
│   │   └── KeysRefused          because the keys were refused
│   ├── NotFound             the PSA answered that there is no such thing
│   └── ForeignChange    7   a write changed something that was not ours
├── Withheld             6   a person must decide: a stale or used id
├── StateError           8   journal, lock file, disk
├── Locked              75   another run holds the lock
├── Interrupted        130   a signal asked us to stop
└── TransportError           raised by `kisi.transport`; sources and PSAs turn it into their own
    ├── NotSent              nothing reached the other side: DNS, refused, TLS
    │   └── Untrusted        the certificate is not one that we were told to trust
    ├── AnswerLost           the request was sent, and no whole answer came back
    └── BadAnswer            an answer came, and it is not what the interface promises
```

Those that one part alone tells apart are defined there: `PasswordRefused`, `Denied`,
`Unavailable`, `Vanished` and `Unanswered` in `kisi.sources.ksc.openapi`, `Undecided` in
`kisi.counting.count`, `Unusable`, `KeysRefused` and `NotFound` in `kisi.psa.tigerpaw.wire`.

A message is one or more whole sentences for the operator: what happened, what kisi did not do
because of it, and, in `remedy`, what to do now. It never holds a secret.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Self


class ExitCode(IntEnum):
    """How a run ended. Part of the contract with schedulers and scripts."""

    ending: str
    """The same in a word or two."""

    def __new__(cls, code: int, ending: str = "") -> Self:  # noqa: D102
        made = int.__new__(cls, code)
        made._value_, made.ending = code, ending
        return made

    OK = 0, "done"
    BUG = 1, "a bug in kisi"
    USAGE = 2, "wrong usage"
    CONFIG = 3, "configuration"
    SOURCE = 4, "a source failed"
    PSA = 5, "a PSA failed"
    WITHHELD = 6, "on hold"
    WRITE = 7, "a write failed"
    STATE = 8, "journal or disk"
    PENDING = 10, "changes pending"
    LOCKED = 75, "another run"
    INTERRUPTED = 130, "interrupted"


ENDINGS: dict[int, str] = {code: code.ending for code in ExitCode}


def worst(codes: Sequence[int]) -> ExitCode:
    """The exit code that stands for all of `codes`: 8, 7, 5, 4, 6, 10 in this order, else 0."""
    return next((ExitCode(code) for code in (8, 7, 5, 4, 6, 10) if code in codes), ExitCode.OK)


class KisiError(Exception):
    """Something that kisi foresaw. `remedy` is empty where there is nothing to do."""

    exit_code: ExitCode = ExitCode.BUG
    guard: str = ""
    """The check that it fails, where that is another one than the check under way."""

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


class NoSuchRun(KisiError):
    """The run that is to be reverted does not exist, or changed nothing."""

    exit_code = ExitCode.USAGE


class ConfigError(KisiError):
    """`kisi.toml`, `mapping.toml` or a secret is wrong. Holds all problems found, not the first."""

    exit_code = ExitCode.CONFIG

    def __init__(self, problems: Sequence[str] | str, *, remedy: str = "") -> None:
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems), remedy=remedy)


class SourceError(KisiError):
    """A source, or one tenant of it, could not be read completely. Never a number."""

    exit_code = ExitCode.SOURCE
    event: str = ""
    """Where it happened and what, without what follows from it: for the log, where another try may
    still succeed. Empty if the source does not tell the two apart."""


class LoginRefused(SourceError):
    """The source refused our credentials. Trying again could lock the account."""

    guard = "login"


class OutOfTime(SourceError):
    """A client that the run had no time to begin with, on either side: nothing of it was read."""

    guard = "deadline"

    def __init__(self) -> None:
        super().__init__(
            "not begun: this run's time was up before its turn came",
            remedy="The next `kisi sync` begins with it. If that happens often, give runs more "
            "time: `kisi sync --deadline 2h`; docs/scaling.md says what else helps.",
        )


class Incomplete(SourceError):
    """A list ended early, a count did not match, or the wrong server answered."""


class PsaError(KisiError):
    """A PSA could not be read, or refused us; nothing was written because of it."""

    exit_code = ExitCode.PSA


class AccessRefused(PsaError):
    """Credentials, rights or the address are wrong: no other request of this kind can succeed."""


class ForeignChange(PsaError):
    """After a write something else on the agreement had changed. That PSA's run stops."""

    exit_code = ExitCode.WRITE


class Withheld(KisiError):
    """A person must decide first."""

    exit_code = ExitCode.WITHHELD


class StateError(KisiError):
    """The journal or the state folder cannot be used."""

    exit_code = ExitCode.STATE


class Locked(KisiError):
    """Another run holds the lock of this state folder."""

    exit_code = ExitCode.LOCKED


class Interrupted(KisiError):
    """A signal asked kisi to stop; the write under way was finished and journaled."""

    exit_code = ExitCode.INTERRUPTED


class TransportError(KisiError):
    """A request did not bring a usable answer."""


class NotSent(TransportError):
    """Nothing reached the other side (DNS, refused, connect time-out, TLS). Safe to repeat."""


class Untrusted(NotSent):
    """The server's certificate is not one that we were told to trust.

    `presented` is its fingerprint, `sha256:` and 64 hex digits, or empty if unknown.
    """

    def __init__(self, message: str, *, presented: str = "", remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.presented = presented


class AnswerLost(TransportError):
    """The request was sent and no whole answer came back. It may have been applied."""


class BadAnswer(TransportError):
    """A whole answer came that is not what the interface promises."""
