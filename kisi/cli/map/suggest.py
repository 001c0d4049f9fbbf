"""`kisi map suggest`: who seems to be whom, as a file to look through and accept."""

from __future__ import annotations

from typing import Annotated

import typer

from kisi.cli import options, output
from kisi.cli.options import Format, RowsFormat

_AS_A_FILE = """\
+ is marked for acceptance, ? is for you to decide. As a file to look through:
  kisi map suggest --format csv --output suggestions.csv"""


def map_suggest(
    config: options.Config = None,
    min_score: Annotated[
        float | None,
        typer.Option(
            "--min-score",
            metavar="0..1",
            min=0,
            max=1,
            show_default="0.85",
            help="Leave out weaker suggestions.",
        ),
    ] = None,
    format_: options.AsRows = RowsFormat.TABLE,
    json: options.Json = False,
    output_file: options.Output = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    no_color: options.NoColor = False,
) -> None:
    """Suggest who is whom, and why. Nothing is bound.

    A company for each unmapped tenant, products for each unmapped application. Write a file, look
    through it, change `accept` where you know better, and hand it to `kisi map accept`:

    kisi map suggest --format csv --output suggestions.csv
    """
    from kisi.cli.map.editing import inventory_of, tell_missing
    from kisi.cli.report import Wish, show, terminal_text
    from kisi.cli.setup import opened
    from kisi.json_text import dumps
    from kisi.mapping.proposals import propose
    from kisi.mapping.proposals_file import proposals_csv, proposals_document
    from kisi.mapping.suggest import DEFAULT_MIN_SCORE
    from kisi.render.formatting import plural
    from kisi.render.proposals import proposals_report

    voice = output.voice(quiet=quiet, verbose=verbose, no_color=no_color)
    least = DEFAULT_MIN_SCORE if min_score is None else min_score
    with opened(config) as setup:
        inventory = inventory_of(setup, voice)
        proposals = propose(setup.mapping, inventory, setup.rules().today, min_score=least)
    wish = Wish(output.chosen(Format(format_), json=json), output_file)
    document = {**proposals_document(proposals), "exit_code": int(inventory.exit_code)}
    show(
        {
            Format.TABLE: lambda: terminal_text(proposals_report(proposals, least), voice, wish),
            Format.JSON: lambda: dumps(document),
            Format.CSV: lambda: proposals_csv(proposals),
        },
        wish,
    )
    tell_missing(inventory, voice)
    marked = sum(row.accept for row in proposals.clients)
    marked += sum(row.accept for row in proposals.applications)
    count = len(proposals.clients) + len(proposals.applications)
    without = len(proposals.without)
    voice.say(
        f"{plural(count, 'suggestion')}, {marked} of them marked for acceptance; "
        f"{plural(without, 'unmapped tenant')} {'has' if without == 1 else 'have'} none from "
        f"{least:g} on."
    )
    if count and wish.format is Format.TABLE:
        voice.say(_AS_A_FILE)
    if output_file is not None and wish.format is not Format.TABLE:
        voice.say(f"Look through {output_file}, then: kisi map accept {output_file}")
    raise typer.Exit(inventory.exit_code)
