"""The commands and their options, in the order a newcomer needs them, and what runs one of them.

What a command does it imports when it is run; so `kisi --help` loads nothing but this.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache, partial
from pathlib import Path

import typer

from kisi import __version__
from kisi.cli import options
from kisi.cli.map import map_app
from kisi.cli.options import client_argument, client_option, flag, option, shared_options
from kisi.cli.output import Console, explain_error, open_streams, result, write
from kisi.cli.schedule import schedule
from kisi.cli.start import demo, init, sandbox
from kisi.errors import ExitCode, Interrupted, KisiError

_UP_TO_A_DAY = {"default": 0, "min": 0, "max": 86_400}
"""Seconds: whoever waits longer runs into the next daily run."""
_EXIT_CODES = """
Exit codes: 0 done, nothing on hold · 1 a bug · 2 usage · 3 configuration, mapping or secret ·
4 a source failed or was incomplete · 5 a PSA could not be read or refused us · 6 on hold for a
person · 7 a write failed or its outcome is unknown · 8 journal or disk · 10 changes pending
(preview --detailed-exitcode) · 75 another run holds the lock · 130 interrupted
"""

app = typer.Typer(
    name="kisi",
    help="Bills Kaspersky security by what an MSP's clients really use.",
    epilog=_EXIT_CODES.strip().replace("\n", " "),
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"kisi {__version__}")
        raise typer.Exit


@app.callback()
def root(
    _version_asked: bool = flag(
        "--version", "Show the version.", "-V", callback=_version, is_eager=True
    ),
) -> None:
    """Bills Kaspersky security by what an MSP's clients really use."""


app.command()(init)


@app.command()
@shared_options(formats=options.FindingsFormat)
def check(
    config: Path | None,
    console: Console,
    online: bool = flag("--online", "Also log in: certificates, clocks, rights, every mapped id."),
    schema: bool = flag("--schema", "Print the JSON Schema of kisi.toml and do nothing."),
    record: Path | None = option(
        "DIR", "With the systems' answers, names and ids replaced, in a folder."
    ),
    repair: bool = flag("--repair", "Acknowledge a damaged journal, or open writes."),
    probe_tigerpaw: str | None = option(
        "[PSA:]AGREEMENT",
        "Prove the Tigerpaw template on a scratch agreement (on a terminal only).",
    ),
) -> None:
    """Check files and secrets; with --online also the systems.

    kisi check
    kisi check --online
    kisi check --record answers

    Writes nothing, but for the folder of --record, which implies --online. Every finding says what
    to do about it. Exit 3 for files and secrets, 4 for a source, 5 for a PSA, 6 for a mapped id
    that is gone or not fit to bill.
    """
    from kisi.cli import checking

    if schema:
        result(checking.schema_text(), console.file)
        raise typer.Exit
    if repair:
        raise typer.Exit(checking.repair_journal(config, console))
    if probe_tigerpaw is not None:
        raise typer.Exit(checking.probe(config, probe_tigerpaw, console))
    asked = online or record is not None
    raise typer.Exit(checking.check(config, console, online=asked, record=record))


app.add_typer(map_app, name="map")


@app.command(context_settings=options.OLDER_NAMES)
@shared_options(formats=options.Format)
def preview(
    config: Path | None,
    console: Console,
    client: options.Texts = options.CLIENTS,
    exclude: options.Texts = options.EXCLUDE,
    detailed_exitcode: bool = flag("--detailed-exitcode", "Exit 10 if changes wait to be written."),
) -> None:
    """Show what `kisi sync` would change, what is held, and why.

    kisi preview
    kisi preview --client Contoso -v
    kisi preview --format html --output preview.html

    Writes nothing. Works also without a mapping: then it shows what there is to map. With -v also
    what is as it should be.

    Marks: + a new line, ~ another quantity, ! on hold, = nothing to change, ✗ failed, ? not known
    whether it was written, - no row of the mapping bills it.
    """
    from kisi.cli.running import follow
    from kisi.run import daily

    work = partial(daily.preview, config, only=client or (), exclude=exclude or ())
    as_page = console.format is options.Format.HTML
    work = partial(work, detailed_exit_code=detailed_exitcode, with_history=as_page)
    raise typer.Exit(follow(work, console, on_signal="Stopping: a preview writes nothing."))


@app.command(context_settings=options.OLDER_NAMES)
@shared_options(formats=options.Format)
def sync(
    config: Path | None,
    console: Console,
    accept: options.Texts = option(
        "ID", "Release the holds of the plan or the client with this id, once (repeatable)."
    ),
    revert: int | None = option(
        "RUN", "Plan what lines held before this run; see `kisi status`.", min=1, max=10**9
    ),
    client: options.Texts = options.CLIENTS,
    exclude: options.Texts = options.EXCLUDE,
    jitter: float = option(
        "SECONDS", "First wait a random time of up to this many seconds.", **_UP_TO_A_DAY
    ),
    lock_timeout: float = option(
        "SECONDS", "Wait up to this many seconds for another run to end.", **_UP_TO_A_DAY
    ),
    deadline: str | None = option(
        "AGE", "How long it may take, as 45m or 2h (30m); who is left out is first in the next run."
    ),
    dry_run: bool = flag("--dry-run", "", hidden=True),
) -> None:
    """Bring the PSA's agreements to what the clients really use.

    kisi sync
    kisi sync --accept 22f5d1b7
    kisi sync --revert 17
    kisi sync --client Contoso

    Made for cron. Everything is read first; nothing is written for a client whose count is not
    complete. What looks wrong is held and reported with the command that releases it. A run with
    --client or --exclude is not the daily one: the healthcheck of [notify] is not pinged. Marks: as
    `kisi preview --help` says.
    """
    if dry_run:
        console.warn("Error: `kisi preview` shows what a sync would do; nothing was done.")
        raise typer.Exit(ExitCode.USAGE)
    from kisi.cli.running import follow
    from kisi.run import daily

    work = partial(
        daily.sync, config, accept=accept or (), only=client or (), exclude=exclude or ()
    )
    work = partial(work, revert=revert, jitter=jitter, lock_timeout=lock_timeout)
    if deadline is not None:  # seconds, as the other two take them, or with a unit
        lasts = duration(f"{deadline}s" if deadline.isdecimal() else deadline, "--deadline")
        work = partial(work, deadline=lasts.total_seconds())
    raise typer.Exit(follow(work, console))


@app.command(context_settings=options.OLDER_NAMES)
@shared_options(formats=options.Format)
def status(
    config: Path | None,
    console: Console,
    client: options.Texts = options.CLIENTS,
    since: str | None = option("DAY|AGE", "Runs since a day, or of the last 7d."),
    failed: bool = flag("--failed", "Only clients that are billed and not up to date."),
    ready: bool = flag("--ready", "Exit 0 only if every billed client may be invoiced."),
    max_age: str = option("AGE", "How old a proof may be.", default="26h"),
) -> None:
    """Show the last runs, each client's state, and what waits.

    kisi status
    kisi status --client Contoso
    kisi status --ready

    Ask the last before invoicing. Reads the journal alone; nothing is sent. With --client each of
    its lines is shown.
    """
    from kisi.cli.journal import show_status

    runs_since = instant(since, "--since") if since else None
    age = duration(max_age, "--max-age")
    failed = failed and not ready  # who may be invoiced is asked of everybody
    work = partial(show_status, config, console, client or (), runs_since, age)
    raise typer.Exit(work(failed=failed, ready=ready))


@app.command()
@shared_options(formats=options.RowsFormat)
def explain(
    config: Path | None,
    console: Console,
    name: str = client_argument("The client's name, or a part of it.", "", show_default=False),
    client: str = client_option("", default="", hidden=True),
    application: str | None = option("GLOB", "Only applications whose name matches."),
    devices: bool = flag("--devices", "List every device, counted or left out, and why."),
    run: int | None = option("ID", "A past run (see `kisi status`).", min=1, max=10**9),
) -> None:
    """Explain a client's quantities: keys, devices, changes.

    kisi explain Contoso
    kisi explain Contoso --devices --run 17

    Reads the journal alone; nothing is sent. Evidence is kept for `evidence_days`.
    """
    from kisi.cli.journal import show_explanation

    if bool(name) is bool(client):
        raise typer.BadParameter("Name one client: kisi explain CLIENT")
    show_explanation(config, console, name or client, run, application, devices=devices)


@app.command()
@shared_options(formats=options.Format)
def statement(
    config: Path | None,
    console: Console,
    name: str | None = client_argument(
        "The client's name, or a part of it; without it all clients."
    ),
    month: str | None = options.MONTH,
    client: options.Texts = options.CLIENTS,
) -> None:
    """Show a client's month: units a day, amounts, devices.

    kisi statement Contoso --month 2026-11 --format html -o contoso
    kisi statement --format html --output statements

    A page fit to be sent to the client. --output is a folder here, and gets a
    file for each client. Reads the journal alone; nothing is sent.
    """
    from kisi.cli.journal import show_statement

    if console.format is options.Format.HTML and name is None and console.file is None:
        raise typer.BadParameter(
            "A page is one client's: name it, or write a file for each with --output FOLDER."
        )
    first = options.day(month, "--month", month=True)
    show_statement(config, console, name, client or (), first)


@app.command()
@shared_options(formats=options.Format)
def reconcile(
    config: Path | None,
    console: Console,
    file: Path = typer.Argument(metavar="FILE", help="CSV, as a distributor sends it."),
    invoice: str = option(
        "NAME", "How the file is made: an [invoices.NAME] of kisi.toml.", default=...
    ),
    month: str | None = options.MONTH,
) -> None:
    """Compare a distributor's invoice with what you bill.

    kisi reconcile nord-2026-11.csv --invoice nord --month 2026-11

    Bought against licensed (keys), used (the month's highest number) and billed, by client and
    application, the most expensive difference first. Reads the file and the journal alone. Exit 6
    if anything differs, or a row of the file is of no client or application.
    """
    from kisi.cli.purchases import show_comparison

    first = options.day(month, "--month", month=True)
    raise typer.Exit(show_comparison(config, console, file, invoice, first))


@app.command()
@shared_options(formats=options.FindingsFormat)
def schema(config: Path | None, console: Console) -> None:
    """Print every field of JSON and CSV, or a JSON Schema.

    kisi schema
    kisi schema --format json -o kisi.schema.json

    With --format json it is the JSON Schema of the two files and of all results.
    Fields are added, and never renamed or removed, as long as `format_version` is 1.
    """
    from kisi.cli.checking import show_schema

    del config  # no field depends on it
    show_schema(console)


@app.command()
@shared_options(formats=options.FindingsFormat)
def notify(
    config: Path | None,
    console: Console,
    test: bool = flag("--test", "Send a test to each, and say what it answered."),
) -> None:
    """Test the addresses of [notify], which are told of each run.

    kisi notify --test

    People (`apprise`) get a short text, the webhook a document whose mode is `test`, and the
    healthcheck `/log`, which is not taken for a run. Exit 3 if one of them did not take it.
    """
    from kisi.cli import checking

    if not test:
        raise typer.BadParameter("Say what to do: kisi notify --test")
    raise typer.Exit(checking.notify_test(config, console))


app.command()(schedule)
app.command()(sandbox)
app.command()(demo)


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LONGEST = timedelta(days=36_500)
_DURATION = f"a duration such as 26h, 90m or 2d, of at most {_LONGEST.days} days"
_YEARS = range(1970, 9999)
"""Of a day: in every time zone it is one that Python can count with."""


def duration(text: str, option: str) -> timedelta:
    """`26h`, `90m` or `2d`; at most 36500 days. Else `typer.BadParameter` names the `option`."""
    if (age := _age(text)) is None:
        raise typer.BadParameter(f"{text[:40]!r} is not {_DURATION}.", param_hint=option)
    return age


def _age(text: str) -> timedelta | None:
    match = re.fullmatch(r"(\d{1,9})([smhd])", text.strip())
    age = timedelta(seconds=int(match[1]) * _UNITS[match[2]]) if match else None
    return age if age is not None and age <= _LONGEST else None


def instant(text: str, option: str) -> datetime | timedelta:
    """A day (`2026-11-01`) from 1970 on, or a duration before now. Else as `duration`."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        if (age := _age(text)) is not None:
            return age
        neither = f"{text[:40]!r} is neither a day such as 2026-11-01 nor {_DURATION}."
        raise typer.BadParameter(neither, param_hint=option) from None
    if moment.year not in _YEARS:
        impossible = f"{text!r} is not a day on which there can have been a run."
        raise typer.BadParameter(impossible, param_hint=option)
    return moment


# --- the one door: every error gets its exit code and its words -----------------------------------

_command_of = cache(typer.main.get_command)
"""Built once, also where one process runs several commands, as `kisi demo` does."""


def run(arguments: Sequence[str]) -> int:
    """Runs one command line, without the program's name; the exit code. Nothing is raised."""
    open_streams()
    try:
        result = _command_of(app).main(list(arguments), prog_name="kisi", standalone_mode=False)
    except typer.TyperException as error:  # wrong arguments, in Typer's own words
        if isinstance(error, typer.BadParameter) and error.__cause__ is not None:
            from kisi.config.sentences import about_value  # its converter's are a programmer's

            error.message = about_value(error.__cause__)
        if (show := getattr(error, "show", None)) is not None:  # its own say how it is used, too
            show(sys.stderr)
        else:
            sys.stderr.write(f"Error: {error.format_message()}\n")
        return ExitCode.USAGE
    except (typer.Abort, KeyboardInterrupt, KisiError) as raised:
        stopped = Interrupted("Stopped before anything was written.")
        known = raised if isinstance(raised, KisiError) else stopped
        write(sys.stderr, explain_error(known))
        return known.exit_code
    except Exception as error:  # noqa: BLE001 - the last door: an operator never sees a traceback
        from kisi.redaction import bug_trace, describe_bug, safe_text

        write(sys.stderr, "Error: this is a bug in kisi: " + safe_text(describe_bug(error)))
        write(sys.stderr, "To do: run it again with -vv, and report what it prints.")
        if "-vv" in arguments:
            write(sys.stderr, "\n".join(map(safe_text, bug_trace(error).splitlines())))
        return ExitCode.BUG
    return result if isinstance(result, int) else ExitCode.OK
