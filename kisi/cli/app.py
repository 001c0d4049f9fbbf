"""The Typer application: its commands, in the order a newcomer needs them."""

from __future__ import annotations

from typing import Annotated

import typer

from kisi import __version__
from kisi.cli.check import check
from kisi.cli.demo import demo, sandbox
from kisi.cli.explain import explain
from kisi.cli.init import init
from kisi.cli.map import map_app
from kisi.cli.preview import preview
from kisi.cli.status import status
from kisi.cli.sync import sync

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
    _version_asked: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Bills Kaspersky security by what an MSP's clients really use."""


app.command()(init)
app.command()(check)
app.add_typer(map_app, name="map")
app.command()(preview)
app.command()(sync)
app.command()(status)
app.command()(explain)
app.command()(sandbox)
app.command()(demo)
