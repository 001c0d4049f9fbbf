"""`kisi sync`: the daily run."""

from __future__ import annotations

from typing import Annotated

import typer

from kisi.cli import options, output
from kisi.cli.options import Format

_DAY = 86_400
"""Seconds: whoever waits longer runs into the next daily run."""


def sync(
    config: options.Config = None,
    accept: Annotated[
        list[str] | None,
        typer.Option(
            "--accept",
            metavar="ID",
            help="Release the holds of the plan or the client with this id, once (repeatable).",
        ),
    ] = None,
    only: options.Only = None,
    exclude: options.Exclude = None,
    jitter: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=0,
            max=_DAY,
            help="First wait a random time of up to this many seconds.",
        ),
    ] = 0,
    lock_timeout: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=0,
            max=_DAY,
            help="Wait up to this many seconds for another run to end.",
        ),
    ] = 0,
    format_: options.As = Format.TABLE,
    json: options.Json = False,
    output_file: options.Output = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    no_color: options.NoColor = False,
) -> None:
    """Bring the PSA's agreements to what the clients really use. Made for cron.

    Everything is read first; nothing is written for a client whose count is not complete. What
    looks wrong is held and reported with the command that releases it. A run with --only or
    --exclude is not the daily one: the healthcheck of [notify] is not pinged.
    """
    from kisi.cli.daily import Order, daily
    from kisi.cli.planning import Asked
    from kisi.cli.report import Wish

    voice = output.voice(quiet=quiet, verbose=verbose, no_color=no_color)
    order = Order(
        config=config,
        asked=Asked(tuple(only or ()), tuple(exclude or ())),
        accepted=tuple(dict.fromkeys(accept or ())),
        jitter=jitter,
        lock_timeout=lock_timeout,
        wish=Wish(output.chosen(format_, json=json), output_file),
    )
    raise typer.Exit(daily(order, voice))
