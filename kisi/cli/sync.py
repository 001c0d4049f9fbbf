"""`kisi sync` and `kisi preview`: follows a run on the terminal, and shows what comes out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kisi import run
from kisi.cli.options import Format
from kisi.cli.output import Console, OutputOptions, explain_error, show, terminal_text
from kisi.cli.progress import ProgressBars
from kisi.cli.signals import handle_signals, run_interruptibly
from kisi.errors import ExitCode
from kisi.json_text import dumps
from kisi.redaction import safe_text
from kisi.render.plan_export import plan_csv
from kisi.render.plan_report import plan_report
from kisi.render.web import web_page
from kisi.run.document import plan_document


def sync(
    config: Path | None,
    console: Console,
    output: OutputOptions,
    *,
    accept: Sequence[str],
    only: Sequence[str],
    exclude: Sequence[str],
    jitter: float,
    lock_timeout: float,
) -> ExitCode:
    """The daily run. What cannot be shown was billed all the same."""
    with handle_signals() as stop, ProgressBars(console) as bars:

        def show_result(result: run.RunResult) -> None:
            bars.hide()
            show_plan(result, console, output)

        return run_interruptibly(
            lambda: run.sync(
                config,
                accept=accept,
                only=only,
                exclude=exclude,
                jitter=jitter,
                lock_timeout=lock_timeout,
                on_progress=bars.report,
                on_message=lambda message: say(message, console),
                on_result=show_result,
                stop=stop,
            )
        ).exit_code


def preview(
    config: Path | None,
    console: Console,
    output: OutputOptions,
    *,
    only: Sequence[str],
    exclude: Sequence[str],
    detailed_exit_code: bool,
) -> ExitCode:
    """What the daily run would do."""
    said = "Stopping: a preview writes nothing."
    with handle_signals(said) as stop, ProgressBars(console) as bars:
        result = run_interruptibly(
            lambda: run.preview(
                config,
                only=only,
                exclude=exclude,
                detailed_exit_code=detailed_exit_code,
                on_progress=bars.report,
                on_message=lambda message: say(message, console),
                stop=stop,
            )
        )
    show_plan(result, console, output)
    return result.exit_code


def say(message: run.Message, console: Console) -> None:
    """A message of a run, on stderr."""
    if message.error is not None:
        console.warn(explain_error(message.error))
    elif message.is_warning:
        console.warn(message.text)
    else:
        console.info(message.text)


def show_plan(result: run.RunResult, console: Console, output: OutputOptions) -> None:
    """Writes a run's result to stdout or a file, and its last line to stderr.

    The last line is always said where something is wrong; on a good day, unless quiet.
    """
    if console.quiet and not result.exit_code and output == OutputOptions(Format.TABLE):
        return
    report = plan_report(result, verbose=console.verbose > 0)
    show(
        {
            Format.TABLE: lambda: terminal_text(report, console, output),
            Format.JSON: lambda: dumps(plan_document(result)),
            Format.CSV: lambda: plan_csv(result),
            Format.HTML: lambda: web_page(report),
        },
        output,
    )
    (console.warn if result.exit_code else console.info)(safe_text(result.last_line))
