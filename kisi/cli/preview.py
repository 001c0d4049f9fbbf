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
    from kisi.cli.planning import Asked, planned
    from kisi.cli.report import show_plan

    voice = output.voice(quiet=quiet, verbose=verbose, no_color=no_color)
    with planned(config, Asked(tuple(only or ()), tuple(exclude or ())), voice) as found:
        code = show_plan(
            found.plan,
            mode="preview",
            voice=voice,
            format_=output.chosen(format_, json=json),
            output_file=output_file,
            detailed=detailed_exitcode,
            now=found.setup.clock.now(),
        )
    raise typer.Exit(code)
