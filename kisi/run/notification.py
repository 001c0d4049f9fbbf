"""Tells the addresses of `[notify]` of a run. Trouble here is a warning, never an exit code.

`healthcheck` is pinged as healthchecks.io and its like expect: `/start`, then `/<exit code>`;
`webhook` receives the run's JSON. An address is a secret: no message holds it, nor its host.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from kisi.errors import ConfigError, ExitCode, KisiError
from kisi.json_text import FORMAT_VERSION, Json
from kisi.redaction import REDACTOR, is_common
from kisi.run.document import plan_document
from kisi.run.result import Message, Mode, OnMessage, RunResult
from kisi.run.setup import partial_config
from kisi.secrets import resolve
from kisi.transport import Client, Clock, Limits

_BUG = "A bug in kisi ended the run; its messages say more."
SECONDS = 10.0
"""A ping takes no longer, so that a hanging service never delays billing much."""


@dataclass(slots=True)
class RunNotification:
    """What is sent of one run, and where to."""

    addresses: Mapping[str, str]
    """`healthcheck` is pinged, `webhook` receives the summary; either may be missing."""
    scope: str
    on_message: OnMessage
    result: RunResult | None = None

    def start(self) -> None:
        """The run begins."""
        self._send("healthcheck", "/start")

    def end(self, code: int, trouble: str = "") -> None:
        """The run has ended with `code`; `trouble` says what ended it, if anything did."""
        self._send("healthcheck", f"/{int(code)}")
        document = {} if self.result is None else plan_document(self.result)
        sentences = (REDACTOR.redact(trouble), document.get("last_line"))
        summary = {
            "format_version": FORMAT_VERSION,
            "mode": Mode.SYNC.value,
            **document,
            "last_line": " ".join(sentence for sentence in sentences if sentence),
            "scope": self.scope or None,
            "exit_code": int(code),
        }
        self._send("webhook", document=summary)

    def _send(self, where: str, below: str = "", document: Json | None = None) -> None:
        if not (url := self.addresses.get(where)):
            return
        try:
            status = _answer(url, below, document)
        except (KisiError, ValueError) as error:  # an address may be none at all
            said = error.message if isinstance(error, KisiError) else "its address is not usable."
            text = REDACTOR.redact(f"The monitoring service could not be told: {said}")
        else:
            if 200 <= status < 300:  # not a redirect: nothing is sent to where it points
                return
            text = f"The monitoring service answered {status}; nothing else changed."
        self.on_message(Message(text, is_warning=True))


def _answer(url: str, below: str, document: Json | None) -> int:
    """Sends to `url`; `below` is put after its path, before a query."""
    parts = urlsplit(url)
    for secret in (parts.path, parts.query, parts.password or ""):
        if not is_common(secret):  # nothing that the service says is ever shown
            REDACTOR.add(secret)
    path = parts.path.rstrip("/") + below if below else parts.path
    limits = Limits(connect=SECONDS / 2, read=SECONDS, call=SECONDS, attempts=1)
    server, query = f"{parts.scheme}://{parts.netloc}", f"?{parts.query}" if parts.query else ""
    client = Client(server, limits=limits, clock=Clock(), label="[notify]", hidden=True)
    with closing(client):
        return client.send("POST" if document else "GET", path + query, json=document).status


@contextmanager
def notifying(config: Path | None, scope: str, on_message: OnMessage) -> Iterator[RunNotification]:
    """Sends how the block ended, whichever way it does.

    The healthcheck watches the daily run: one over some clients must neither pass for it nor alarm.
    """
    addresses = _addresses(config)
    if scope:
        addresses.pop("healthcheck", None)
    notification = RunNotification(addresses, scope, on_message)
    try:
        yield notification
    except KisiError as error:
        first, *others = error.message.splitlines()
        notification.end(error.exit_code, f"{first} ({len(others)} more)" if others else first)
        raise
    except Exception:
        notification.end(ExitCode.BUG, _BUG)
        raise
    result = notification.result
    notification.end(ExitCode.OK if result is None else result.exit_code)


def _addresses(config: Path | None) -> dict[str, str]:
    try:
        settings = partial_config(config).config
    except ConfigError:
        return {}
    found = {}
    for field, reference in settings.notify.secrets().items():
        with suppress(ConfigError):
            found[field] = resolve(reference, base=settings.base)
    return found
