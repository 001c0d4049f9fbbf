"""What the PSAs that are asked over HTTP share: errors, findings, what answers mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import ClassVar

from kisi.config.settings import Section
from kisi.errors import BadAnswer, NotSent, PsaError, TransportError, Untrusted
from kisi.model import Finding, Level, WriteResult, WriteStatus
from kisi.psa.interface import Psa
from kisi.transport import Answer, Client, Clock, Limits, clock_finding, retry_after

DEFAULT_WAIT = 10.0
"""Seconds to wait where a rate limit comes without `Retry-After`."""


class HttpPsa(Psa):
    """One PSA, `[psa.NAME]`, behind `client`. Safe to use from several threads."""

    system: ClassVar[str]
    """The product's name, for sentences."""
    if_unusable: ClassVar[str]
    """What to look at where answers of the PSA are never right; `{}` is its section."""
    if_skewed: ClassVar[str]
    """What a wrong clock could do there."""
    client: Client | None = None
    """The connection to the server, once there is one."""

    def __init__(
        self,
        name: str,
        settings: Section,
        secrets: Mapping[str, str],
        *,
        base: Path,
        clock: Clock,
        limits: Limits,
    ) -> None:
        self.name, self.label = name, f"psa.{name}"
        self._settings, self._secrets, self._base, self._clock = settings, secrets, base, clock
        called = f"{self.system} (psa.{name})"
        self._client_for = partial(Client, limits=limits, clock=clock, label=called)
        self._set_up()

    def _set_up(self) -> None:
        """Connects, unless a question comes first; `ConfigError` for settings of no use."""

    def clock_skew(self) -> timedelta | None:
        """How far this machine's clock is ahead of the PSA's."""
        return self.client.skew if self.client else None

    def busy_for(self) -> float:
        """Seconds until the PSA wants to be sent something again."""
        return self.client.busy_for() if self.client else 0.0

    def close(self) -> None:
        """Closes the connections."""
        if self.client:
            self.client.close()

    @contextmanager
    def reading(self, what: str) -> Iterator[None]:
        """Around a question about `what` and the reading of its answer: `PsaError` where one fails.

        A `ValueError` says what is wrong with the answer.
        """
        try:
            yield
        except (ValueError, BadAnswer) as error:
            said = f"{self.system}'s answer does not hold the {what} of {self.label}"
            look = self.if_unusable.format(self.label)
            raise PsaError(
                f"{said}: {str(error).rstrip('.')}. Nothing of it was used.",
                remedy=f"Run kisi again; if it keeps happening, {look}.",
            ) from error
        except TransportError as error:
            raise PsaError(
                f"kisi could not read the {what} of {self.label}: {error.message}",
                remedy=transport_remedy(self.system, error),
            ) from error

    def clock_finding(self) -> Finding:
        """Whether this machine's clock and the PSA's agree."""
        return clock_finding(self.clock_skew(), self.label, self.if_skewed)


def found(check: Callable[[], Finding | str]) -> Finding:
    """What a check found (a text: all is well), or the error that it ended with."""
    try:
        said = check()
    except PsaError as error:
        return Finding.of(error)
    return Finding(Level.OK, said) if isinstance(said, str) else said


def transport_remedy(system: str, error: TransportError) -> str:
    """What to do where no usable answer came: certificates are not pinned here, as a KSC's are."""
    if not isinstance(error, Untrusted):
        return error.remedy
    return (
        f"If {system} is a server of your own with a private certificate authority, name the "
        "authority's file in the environment variable REQUESTS_CA_BUNDLE. For the cloud it means "
        f"that something between kisi and {system} opens the connection."
    )


def not_answered(error: TransportError, message: str) -> WriteResult:
    """A write to which no usable answer came: it was not sent, or may have been applied."""
    unsent = isinstance(error, NotSent)
    return WriteResult(WriteStatus.NOT_SENT if unsent else WriteStatus.UNKNOWN, message.rstrip())


def asked_to_wait(answer: Answer, *, creates: bool, unsaid: float = DEFAULT_WAIT) -> float | None:
    """The seconds after which a write that was not looked at may be sent again, if it is so.

    A gateway may answer 503 after the PSA wrote: where a write does not create, a second one does
    no harm.
    """
    asked = retry_after(answer.headers)
    unavailable = answer.status == HTTPStatus.SERVICE_UNAVAILABLE and asked is not None
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS or (unavailable and not creates):
        return unsaid if asked is None else asked
    return None


def wrote_nothing(status: int) -> bool:
    """Whether it is a 4xx, which refuses before it writes, but for a request that timed out."""
    is_refusal = HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR
    return is_refusal and status != HTTPStatus.REQUEST_TIMEOUT
