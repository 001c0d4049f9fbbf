"""Tells the addresses of `[notify]` of a run. Trouble here is a warning, never an exit code.

`healthcheck` is pinged as healthchecks.io and its like expect: `/start`, then `/<exit code>`;
`webhook` receives the run's JSON, and each address of `apprise` a short text for people. An address
is a secret: no message holds it, nor its host, nor a word of what its service answers.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from urllib.parse import urlsplit

from kisi.config import Config
from kisi.errors import ENDINGS, ConfigError, ExitCode, KisiError
from kisi.json_text import FORMAT_VERSION, Json
from kisi.model import Category, CompanyPlan, Finding, Level, PlannedLine
from kisi.reconcile.summary import outlook_sentence
from kisi.redaction import REDACTOR, is_common, safe_text
from kisi.run.document import plan_document
from kisi.run.result import Message, Mode, OnMessage, RunResult, accept_command, released_by_id
from kisi.run.setup import partial_config
from kisi.secrets import resolve
from kisi.transport import Client, Clock, Limits

_BUG = "A bug in kisi ended the run; its messages say more."
_TEST = "A test of [notify], sent by `kisi notify --test`: nothing was read and nothing was billed."
NO_APPRISE = (
    "[notify] apprise needs the package apprise in kisi's environment: run `pipx inject kisi "
    "apprise`, or see docs/configuration.md#notify-who-is-told."
)
SECONDS = 10.0
"""A ping takes no longer, so that a hanging service never delays billing much."""
_LINES = 8
"""So many lines on hold are named to people; `kisi status` has them all."""


Said = tuple[bool, str]
"""Whether a service took it, and what it answered, as the end of a sentence."""


@dataclass(slots=True)
class RunNotification:
    """What is sent of one run, and where to."""

    addresses: dict[str, str]
    """By their names in `Notify.secrets`; each may be missing."""
    scope: str
    on_message: OnMessage
    result: RunResult | None = None
    when: str = "attention"

    def start(self) -> None:
        """The run begins."""
        self._send("healthcheck", "/start")

    def end(self, code: int, trouble: str = "") -> None:
        """The run has ended with `code`; `trouble` says what ended it, if anything did."""
        self._send("healthcheck", f"/{int(code)}")
        said = "" if self.result is None else self.result.last_line
        last_line = " ".join(filter(None, (REDACTOR.redact(trouble), said)))
        if "webhook" in self.addresses:
            document = {} if self.result is None else plan_document(self.result)
            document = {"format_version": FORMAT_VERSION, "mode": Mode.SYNC.value, **document}
            told = {"last_line": last_line, "scope": self.scope or None, "exit_code": int(code)}
            self._send("webhook", document=document | told)
        changed = self.result is not None and bool(self.result.outcomes)
        if code or self.when == "always" or (self.when == "changes" and changed):
            title = f"kisi{f' ({self.scope})' if self.scope else ''}: {ENDINGS[code]}"
            text = for_people(last_line, self.result)
            for name in self.addresses:
                if name.startswith("apprise"):
                    self._warn(_post(self.addresses[name], title, text))

    def _send(self, where: str, below: str = "", document: Json | None = None) -> None:
        if url := self.addresses.get(where):
            self._warn(_ask(url, below, document))

    def _warn(self, said: Said) -> None:
        if not said[0]:
            text = f"The monitoring service {said[1]} Nothing else changed."
            self.on_message(Message(text, is_warning=True))


def for_people(last_line: str, result: RunResult | None) -> str:
    """A run in a few lines: how it ended, what is on hold, and the command that releases it."""
    clients = () if result is None else result.plan.companies
    held = [_held(one, line) for one in clients for line in one.lines if line.hold]
    lines = [last_line, *_listed("On hold:", held)]
    released = [one for one in clients if released_by_id(one)]
    if result is not None and released:  # one client's id, or the plan's
        several = f"kisi sync --accept {result.plan.plan_id}"
        command = several if len(released) > 1 else accept_command(released[0])
        lines += ["", f"If that is right: {command}"]
    if result is not None:
        today = result.generated_at.astimezone(result.zone).date()
        keys = [outlook_sentence(one, today) for one in result.plan.outlook]
        lines += _listed("Licence keys:", keys)
    return "\n".join(safe_text(REDACTOR.redact(line)) for line in (*lines, "", "More: kisi status"))


def _listed(title: str, lines: Sequence[str]) -> list[str]:
    more = len(lines) - _LINES
    rest = [f"... and {more} more"] if more > 0 else []
    return ["", title, *lines[:_LINES], *rest] if lines else []


def _held(client: CompanyPlan, line: PlannedLine) -> str:
    words = [x.replace("_", " ") for x in line.categories if x is not Category.ALL]
    name, before = ", ".join([line.application, *words]), (line.before or Decimal(0)).normalize()
    guard = line.hold.guard if line.hold else ""
    guard += f": {line.because}" if line.because else ""
    return f"{client.company.name}: {before:f} → {line.after} {name} ({guard})"


def _ask(url: str, below: str, document: Json | None) -> Said:
    """Sends to `url`; `below` is put after its path, before a query."""
    limits = Limits(connect=SECONDS / 2, read=SECONDS, call=SECONDS, attempts=1)
    method = "POST" if document else "GET"
    try:
        parts = urlsplit(url)
        _hide(parts.path, parts.query, parts.password or "")
        path = parts.path.rstrip("/") + below if below else parts.path
        server, query = f"{parts.scheme}://{parts.netloc}", f"?{parts.query}" if parts.query else ""
        client = Client(server, limits=limits, clock=Clock(), label="[notify]", hidden=True)
        with closing(client):
            status = client.send(method, path + query, json=document).status
    except (KisiError, ValueError) as error:  # an address may be none at all
        said = error.message if isinstance(error, KisiError) else "its address is not usable."
        return False, REDACTOR.redact(f"could not be told: {said}")
    # not a redirect: nothing is sent to where it points
    return 200 <= status < 300, f"answered {status}."


def _hide(*secrets: str) -> None:
    for secret in secrets:
        if not is_common(secret):  # nothing that the service says is ever shown
            REDACTOR.add(secret)


def _post(url: str, title: str, text: str) -> Said:
    """Sends a text for people by Apprise, which is loaded for that alone."""
    try:
        apprise = import_module("apprise")
    except ImportError:
        return False, f"could not be told: {NO_APPRISE}"
    _hide(*re.split(r"[/?&=#:@,;]+", url))
    codes: list[str] = []
    logger = logging.getLogger("apprise")
    logger.setLevel(logging.WARNING)

    def keep_status(record: logging.LogRecord) -> bool:  # alone: its words may be the service's
        codes.extend(re.findall(r"\berror=(\d{3})\b", record.getMessage()))
        return False

    logger.filters = [keep_status]
    try:
        service = apprise.Apprise(asset=apprise.AppriseAsset(async_mode=False))
        if not service.add(url):
            return False, "could not be told: its address is none that Apprise knows."
        if service.notify(text, title=title, body_format="text"):
            return True, "took the message."
    except Exception:  # noqa: BLE001 - whatever a plugin raises, its words may hold the address
        return False, "could not be told: Apprise failed."
    return False, f"answered {codes[-1]}." if codes else "did not take the message."


def send_test(config: Config) -> tuple[Finding, ...]:
    """Sends a test to every address of `[notify]`: what each answered.

    A healthcheck gets `/log`, which healthchecks.io notes without taking it for a run.
    `ConfigError` if an address cannot be resolved.
    """
    document = {"format_version": FORMAT_VERSION, "mode": "test", "last_line": _TEST}
    document |= {"scope": None, "exit_code": 0}
    findings = []
    for name, reference in config.notify.secrets().items():
        url = resolve(reference, base=config.base)
        asked = {"healthcheck": ("/log", None), "webhook": ("", document)}.get(name)
        took_it, said = _ask(url, *asked) if asked else _post(url, "kisi: a test", _TEST)
        level = Level.OK if took_it else Level.PROBLEM
        findings.append(Finding(level, f"{name} {said}"))
    return tuple(findings)


@contextmanager
def notifying(config: Path | None, scope: str, on_message: OnMessage) -> Iterator[RunNotification]:
    """Sends how the block ended, whichever way it does.

    The healthcheck watches the daily run: one over some clients must neither pass for it nor alarm.
    """
    notification = RunNotification({}, scope, on_message)
    with suppress(ConfigError):  # a broken kisi.toml has no addresses
        settings = partial_config(config).config
        notification.when = settings.notify.when
        for name, reference in settings.notify.secrets().items():
            with suppress(ConfigError):
                notification.addresses[name] = resolve(reference, base=settings.base)
    if scope:
        notification.addresses.pop("healthcheck", None)
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
