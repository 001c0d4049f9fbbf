"""Tells the addresses of `[notify]` of a run, from its beginning to whatever end it comes to.

They are looked up before anything else, so that also a run that cannot begin is told: with exit
code 3 as long as `[notify]` itself can be read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from kisi.cli.output import Voice
from kisi.cli.setup import partial_config
from kisi.errors import ConfigError, ExitCode, KisiError
from kisi.json_text import FORMAT_VERSION
from kisi.notify import Notifier
from kisi.redaction import REDACTOR
from kisi.render.plan_export import plan_document
from kisi.render.plan_view import Mode, PlanView
from kisi.secrets import resolve
from kisi.transport import SystemClock

_BUG = "A bug in kisi ended the run; its messages say more."


@dataclass(slots=True)
class Telling:
    """What is told of one run.

    Args:
        notifier: Who is told.
        scope: Which clients the run concerns, in words; empty for all of them.
        view: The result, once there is one.
    """

    notifier: Notifier
    scope: str
    view: PlanView | None = None

    def start(self) -> None:
        """The run begins."""
        self.notifier.start()

    def end(self, code: int, trouble: str = "") -> None:
        """The run has ended with `code`; `trouble` says what ended it, if anything did."""
        document = {} if self.view is None else plan_document(self.view)
        sentences = (REDACTOR.redact(trouble), document.get("last_line"))
        self.notifier.finish(
            code,
            {
                "format_version": FORMAT_VERSION,
                "mode": Mode.SYNC.value,
                **document,
                "last_line": " ".join(sentence for sentence in sentences if sentence),
                "scope": self.scope or None,
            },
        )


@contextmanager
def telling(config: Path | None, scope: str, voice: Voice) -> Iterator[Telling]:
    """Tells how the block ended, whichever way it does.

    The healthcheck watches the daily run: one over some clients must neither pass for it nor alarm.

    Args:
        config: kisi.toml, as given.
        scope: Which clients the run concerns, in words; empty for all of them.
        voice: How to say that somebody could not be told.
    """
    addresses = _addresses(config)
    if scope:
        addresses.pop("healthcheck", None)
    told = Telling(Notifier.of(addresses, SystemClock(), voice.insist), scope)
    try:
        yield told
    except KisiError as error:
        told.end(error.exit_code, _sentence(error))
        raise
    except Exception:
        told.end(ExitCode.BUG, _BUG)
        raise
    told.end(ExitCode.OK if told.view is None else told.view.exit_code)


def _addresses(config: Path | None) -> dict[str, str]:
    """What can be resolved of `[notify]`; the run itself stops at the rest, and says so."""
    try:
        settings = partial_config(config).config
    except ConfigError:
        return {}
    found = {}
    for field, reference in settings.notify.secrets().items():
        with suppress(ConfigError):
            found[field] = resolve(reference, base=settings.base)
    return found


def _sentence(error: KisiError) -> str:
    """The first line of an error, and how many there are."""
    first, *others = error.message.splitlines()
    return f"{first} ({len(others)} more)" if others else first
