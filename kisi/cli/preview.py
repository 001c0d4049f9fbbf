"""`kisi preview`: the plan, with holds and their reasons. Writes nothing, not even the journal."""

from __future__ import annotations

from typing import Annotated

import typer

from kisi.cli import options, output
from kisi.cli.options import Format


def preview(
    config: options.Config = None,
    only: options.Only = None,
    exclude: options.Exclude = None,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit 10 if changes wait to be written.")
    ] = False,
    format_: options.As = Format.TABLE,
    json: options.Json = False,
    output_file: options.Output = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    no_color: options.NoColor = False,
) -> None:
    """Show what `kisi sync` would change, what is held, and why. Writes nothing.

    Look at it before invoicing. Works also without a mapping: then it shows what there is to map.
    """
    from kisi.cli.planning import Asked, preview_view
    from kisi.cli.report import Wish, show_plan

    voice = output.voice(quiet=quiet, verbose=verbose, no_color=no_color)
    asked = Asked(tuple(only or ()), tuple(exclude or ()))
    view = preview_view(config, asked, voice, detailed=detailed_exitcode)
    show_plan(view, voice, Wish(output.chosen(format_, json=json), output_file))
    raise typer.Exit(view.exit_code)
