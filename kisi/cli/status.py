"""`kisi status`: how it stands, from the journal alone; and whether you may invoice."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Annotated

import typer

from kisi.cli import options, output
from kisi.cli.completion import client_names
from kisi.cli.options import Format
from kisi.errors import ExitCode

_UNITS = {"m": 60, "h": 3600, "d": 86400}
_LONGEST = timedelta(days=36_500)
_DURATION = f"a duration such as 26h, 90m or 2d, of at most {_LONGEST.days} days"
_YEARS = range(1970, 9999)
"""Of a day: in every time zone it is one that Python can count with."""


def duration(text: str, option: str) -> timedelta:
    """`26h`, `90m` or `2d`; at most 36500 days.

    Raises:
        typer.BadParameter: It is none of these. Names the `option`.
    """
    age = _age(text)
    if age is None:
        raise typer.BadParameter(f"{text[:40]!r} is not {_DURATION}.", param_hint=option)
    return age


def _age(text: str) -> timedelta | None:
    match = re.fullmatch(r"(\d{1,9})([mhd])", text.strip())
    age = timedelta(seconds=int(match[1]) * _UNITS[match[2]]) if match else None
    return age if age is not None and age <= _LONGEST else None


def instant(text: str, option: str) -> datetime | timedelta:
    """A day (`2026-11-01`) from 1970 on, or a duration before now.

    Raises:
        typer.BadParameter: It is neither. Names the `option`.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        age = _age(text)
        if age is None:
            raise typer.BadParameter(
                f"{text[:40]!r} is neither a day such as 2026-11-01 nor {_DURATION}.",
                param_hint=option,
            ) from None
        return age
    if moment.year not in _YEARS:
        raise typer.BadParameter(
            f"{text!r} is not a day on which there can have been a run.", param_hint=option
        )
    return moment


def status(
    context: typer.Context,
    config: options.Config = None,
    company: Annotated[
        str | None,
        typer.Option(
            metavar="GLOB",
            help="Only clients whose name matches, in detail.",
            autocompletion=client_names,
        ),
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="DAY|AGE", help="Runs since a day, or of the last 7d.")
    ] = None,
    failed: Annotated[
        bool,
        typer.Option(
            "--failed", help="Only clients that failed, are held, or were never confirmed."
        ),
    ] = False,
    ready: Annotated[
        bool, typer.Option("--ready", help="Exit 0 only if every billed client may be invoiced.")
    ] = False,
    max_age: Annotated[
        str, typer.Option(metavar="AGE", help="How old a proof may be for --ready.")
    ] = "26h",
    format_: options.As = Format.TABLE,
    json: options.Json = False,
    output_file: options.Output = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    no_color: options.NoColor = False,
) -> None:
    """Show the last runs, each client's state and lines, and what waits for you.

    Reads the journal alone; nothing is sent. Before invoicing, ask `kisi status --ready`.
    """
    from kisi.cli.report import Wish, show, terminal_text
    from kisi.cli.status_data import StatusQuery, status_view
    from kisi.json_text import dumps
    from kisi.render.status_export import status_csv, status_document
    from kisi.render.status_report import status_report
    from kisi.render.status_view import readiness, ready_sentence
    from kisi.render.text import safe_text
    from kisi.render.web import web_page

    source = context.get_parameter_source("max_age")
    if not ready and source is not None and source.name == "COMMANDLINE":
        raise typer.BadParameter("It is for --ready alone.", param_hint="--max-age")
    voice = output.voice(quiet=quiet, verbose=verbose, no_color=no_color)
    filtered = failed and not ready  # who may be invoiced is asked of everybody
    moment = instant(since, "--since") if since else None
    oldest = duration(max_age, "--max-age")
    query = StatusQuery(company=company, since=moment, failed=filtered)
    view, problem = status_view(config, query)
    answer = readiness(view, oldest)
    wish = Wish(output.chosen(format_, json=json), output_file)
    detailed = voice.verbose > 0 or company is not None
    table = wish.format is Format.TABLE
    if not (ready and table):
        show(
            {
                Format.TABLE: lambda: terminal_text(
                    status_report(view, detailed=detailed), voice, wish
                ),
                Format.JSON: lambda: dumps(status_document(view, answer if ready else None)),
                Format.CSV: lambda: status_csv(view),
                Format.HTML: lambda: web_page(status_report(view, detailed=True)),
            },
            wish,
        )
    if problem is not None:
        voice.insist(output.explain_error(problem))
        raise typer.Exit(problem.exit_code)
    if ready:
        sentence = safe_text(ready_sentence(answer))
        if table:
            output.result(sentence, wish.output)
        else:
            voice.say(sentence)
        raise typer.Exit(ExitCode.OK if answer.ready else ExitCode.WITHHELD)
