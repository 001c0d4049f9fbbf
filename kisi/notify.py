"""Tells a monitoring service how the run went. Trouble here is a warning, never an exit code.

`healthcheck` is pinged as healthchecks.io and its like expect: `/start` at the beginning,
`/<exit code>` at the end. `webhook` receives the run's JSON summary. Whoever knows such an address
can report in our name: no message holds it, nor its host.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from kisi.errors import KisiError
from kisi.redaction import REDACTOR
from kisi.transport import Client, Clock, Limits

SECONDS = 10.0
"""A ping takes no longer, so that a hanging service never delays billing much."""


@dataclass(frozen=True, slots=True)
class Notifier:
    """Who is told.

    Args:
        healthcheck: The ping URL, or None.
        webhook: The URL that receives the summary, or None.
        clock: Tells the time and waits.
        warn: Tells the operator that a ping failed.
    """

    healthcheck: str | None
    webhook: str | None
    clock: Clock
    warn: Callable[[str], None]

    @classmethod
    def of(cls, addresses: Mapping[str, str], clock: Clock, warn: Callable[[str], None]) -> Self:
        """The notifier with the resolved addresses of `[notify]`, by key."""
        return cls(addresses.get("healthcheck"), addresses.get("webhook"), clock, warn)

    def start(self) -> None:
        """The run begins."""
        if self.healthcheck:
            self._send(self.healthcheck, below="start")

    def finish(self, code: int, document: Mapping[str, object]) -> None:
        """The run has ended with `code`; `document` is its JSON, or what is known of its end."""
        if self.healthcheck:
            self._send(self.healthcheck, below=str(int(code)))
        if self.webhook:
            self._send(self.webhook, {**document, "exit_code": int(code)})

    def _send(
        self, url: str, document: Mapping[str, object] | None = None, *, below: str = ""
    ) -> None:
        try:
            status = self._answer(url, document, below)
        except (KisiError, ValueError) as error:  # an address may be none at all
            said = error.message if isinstance(error, KisiError) else "its address is not usable."
            self.warn(REDACTOR.redact(f"The monitoring service could not be told: {said}"))
            return
        if not 200 <= status < 300:  # also a redirect: nothing is sent to where it points
            self.warn(f"The monitoring service answered {status}; nothing else changed.")

    def _answer(self, url: str, document: Mapping[str, object] | None, below: str) -> int:
        """Sends to `url`; `below` is put under its path, before a query."""
        parts = urlsplit(url)
        for secret in (parts.path, parts.query, parts.password or ""):
            REDACTOR.add(secret)
        path = f"{parts.path.rstrip('/')}/{below}" if below else parts.path
        client = Client(
            f"{parts.scheme}://{parts.netloc}",
            limits=Limits(connect=SECONDS / 2, read=SECONDS, call=SECONDS, attempts=1),
            clock=self.clock,
            label="[notify]",
            hidden=True,
        )
        try:
            return client.send(
                "POST" if document else "GET",
                path + (f"?{parts.query}" if parts.query else ""),
                json=document,
            ).status
        finally:
            client.close()
