"""Shows a result in the format that was asked for, and says the last line."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kisi.cli.options import Format
from kisi.cli.output import Voice, result

_WIDE = 120
"""Where nobody says how wide it is (a file, a pipe): few names are broken, and a mail shows it."""

if TYPE_CHECKING:
    from kisi.render.plan_view import PlanView
    from kisi.render.report import Report


@dataclass(frozen=True, slots=True)
class Wish:
    """How the operator wants a result.

    Args:
        format: How it is written.
        output: Where, if not to stdout.
    """

    format: Format
    output: Path | None = None


def show_plan(view: PlanView, voice: Voice, wish: Wish) -> None:
    """Writes a run's result to stdout or a file, and its last line to stderr.

    The last line is always said where something is wrong; on a good day, unless quiet.
    """
    from kisi.json_text import dumps
    from kisi.render.plan_export import plan_csv, plan_document
    from kisi.render.plan_report import plan_report
    from kisi.render.text import safe_text
    from kisi.render.web import web_page

    report = plan_report(view, verbose=voice.verbose > 0)
    say = voice.insist if view.exit_code else voice.say
    if voice.quiet and not view.exit_code and wish == Wish(Format.TABLE):
        return
    show(
        {
            Format.TABLE: lambda: terminal_text(report, voice, wish),
            Format.JSON: lambda: dumps(plan_document(view)),
            Format.CSV: lambda: plan_csv(view),
            Format.HTML: lambda: web_page(report),
        },
        wish,
    )
    say(safe_text(view.last_line))


def show(texts: dict[Format, Callable[[], str]], wish: Wish) -> None:
    """Writes the text of the wished format, which is one of those that the command offers."""
    result(texts[wish.format](), wish.output)


def terminal_text(report: Report, voice: Voice, wish: Wish) -> str:
    """A report as text: as wide as the terminal, coloured if that is welcome."""
    from kisi.render.terminal import Terminal, lay_out

    if wish.output is not None:
        return lay_out(report, Terminal(_WIDE)).plain
    width = shutil.get_terminal_size((_WIDE, 0)).columns
    page = lay_out(report, Terminal(width, sys.stdout.encoding or "ascii"))
    return page.ansi() if page and voice.colored(sys.stdout) else page.plain
