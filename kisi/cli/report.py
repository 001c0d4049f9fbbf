"""Shows a plan in the format that was asked for, and says the last line."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from kisi.cli.options import Format
from kisi.cli.output import Voice, result
from kisi.errors import ExitCode

if TYPE_CHECKING:
    from kisi.model import Plan


def show_plan(
    plan: Plan,
    *,
    mode: str,
    voice: Voice,
    format_: Format,
    output_file: Path | None,
    now: datetime,
    detailed: bool = False,
    code: ExitCode | None = None,
    run: int | None = None,
) -> ExitCode:
    """Writes the plan to stdout or a file, its last line to stderr, and returns the exit code.

    Args:
        plan: With outcomes after `sync`.
        mode: `preview` or `sync`.
        voice: How to speak.
        format_: How the result is written.
        output_file: Where, if not to stdout.
        now: When it was made.
        detailed: Pending changes count (`--detailed-exitcode`).
        code: The exit code, where the plan alone does not tell it.
        run: The journal's id of the run.
    """
    from kisi.reconcile.verdict import exit_code, last_line
    from kisi.render.text import safe_text

    code = exit_code(plan, detailed=detailed) if code is None else code
    result(_rendered(plan, mode, voice, format_, output_file, now, code, run), output_file)
    say = voice.insist if code else voice.say
    say(safe_text(last_line(plan)))
    return code


def _rendered(
    plan: Plan,
    mode: str,
    voice: Voice,
    format_: Format,
    output_file: Path | None,
    now: datetime,
    code: ExitCode,
    run: int | None,
) -> str:
    if format_ is Format.TABLE:
        from kisi.render.plan_table import plan_table

        color = output_file is None and voice.colored(sys.stdout)
        return plan_table(plan, mode=mode, verbose=voice.verbose > 0, color=color)
    document = document_of(plan, mode=mode, now=now, code=code, run=run)
    return document
