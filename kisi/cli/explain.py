"""`kisi explain`: each quantity of a client down to its devices, also of a past run."""

from __future__ import annotations

from typing import Annotated

import typer

from kisi.cli import options, output
from kisi.cli.completion import client_names
from kisi.cli.options import Format, RowsFormat


def explain(
    company: Annotated[
        str,
        typer.Argument(
            metavar="COMPANY",
            help="The client's name, or a part of it.",
            autocompletion=client_names,
        ),
    ],
    application: Annotated[
        str | None, typer.Option(metavar="GLOB", help="Only applications whose name matches.")
    ] = None,
    devices: Annotated[
        bool, typer.Option("--devices", help="List every device, counted or left out, and why.")
    ] = False,
    run: Annotated[
        int | None,
        typer.Option(metavar="ID", min=1, max=10**9, help="A past run (see `kisi status`)."),
    ] = None,
    config: options.Config = None,
    format_: options.AsRows = RowsFormat.TABLE,
    json: options.Json = False,
    output_file: options.Output = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    no_color: options.NoColor = False,
) -> None:
    """Explain a client's quantities: keys, classes, devices, and what changed since the run before.

    Reads the journal alone; nothing is sent. Evidence is kept for `evidence_days`.
    """
    from kisi.cli.evidence import explained
    from kisi.cli.report import Wish, show, terminal_text
    from kisi.json_text import dumps
    from kisi.render.explain import explain_csv, explain_document, explain_report

    voice = output.voice(quiet=quiet, verbose=verbose, no_color=no_color)
    view = explained(config, company, run, application)
    wish = Wish(output.chosen(Format(format_), json=json), output_file)
    show(
        {
            Format.TABLE: lambda: terminal_text(explain_report(view, devices=devices), voice, wish),
            Format.JSON: lambda: dumps(explain_document(view)),
            Format.CSV: lambda: explain_csv(view),
        },
        wish,
    )
