"""`kisi sync` and `kisi preview`: follows a run on the terminal, and shows what comes out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from kisi.cli.options import Format
from kisi.cli.output import Console, OutputOptions, explain_error, show, terminal_text
from kisi.cli.progress import ProgressBars
from kisi.cli.signals import WRITES_ARE_FINISHED, handle_signals, run_interruptibly
from kisi.errors import ExitCode
from kisi.json_text import dumps
from kisi.redaction import safe_text
from kisi.render.plan_export import plan_csv
from kisi.render.plan_report import plan_report
from kisi.render.web import web_page
from kisi.run import Message, RunResult
from kisi.run.document import plan_document


def follow(
    work: Callable[..., RunResult],
    console: Console,
    output: OutputOptions,
    *,
    on_signal: str = WRITES_ARE_FINISHED,
) -> ExitCode:
    """Does a run and shows its result; what cannot be shown was billed all the same.

    Args:
        work: `kisi.run.sync` or `preview` with what the operator asked for; gets the callbacks.
        console: Where messages and progress go.
        output: Where the result goes.
        on_signal: What a first signal makes kisi say.
    """
    with handle_signals(on_signal) as stop, ProgressBars(console) as bars:

        def show_result(result: RunResult) -> None:
            bars.hide()
            show_plan(result, console, output)

        following = partial(
            work,
            on_progress=bars.report,
            on_message=lambda message: say(message, console),
            on_result=show_result,
            stop=stop,
        )
        return run_interruptibly(following).exit_code


def say(message: Message, console: Console) -> None:
    """A message of a run, on stderr."""
    if message.error is not None:
        console.warn(explain_error(message.error))
    elif message.is_warning:
        console.warn(message.text)
    else:
        console.info(message.text)


def show_plan(result: RunResult, console: Console, output: OutputOptions) -> None:
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
