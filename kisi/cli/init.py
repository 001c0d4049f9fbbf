"""`kisi init`: a first kisi.toml."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kisi.cli import options, output


def init(
    config: Annotated[
        Path, typer.Option("--config", "-c", metavar="FILE", help="Where to write it.")
    ] = Path("kisi.toml"),
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    no_color: options.NoColor = False,
) -> None:
    """Write a commented kisi.toml to fill in. Never overwrites anything."""
    from kisi.cli.init_template import write_template

    voice = output.voice(quiet=quiet, verbose=verbose, no_color=no_color)
    voice.say(write_template(config))
