"""`kisi map remove`: takes rows out of mapping.toml. The PSA is not touched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from kisi.cli import options, output
from kisi.cli.completion import client_names

if TYPE_CHECKING:
    from kisi.mapping.change import Change, Draft


def map_remove(
    client: Annotated[
        str | None,
        typer.Argument(
            metavar="CLIENT",
            autocompletion=client_names,
            help="The client: its name, agreement (cw:1042) or a tenant.",
        ),
    ] = None,
    application: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The application with all its rows; with CLIENT: that client's exception.",
        ),
    ] = None,
    product: Annotated[
        str | None,
        typer.Option(metavar="APPLICATION", help="As what this application is billed."),
    ] = None,
    psa: options.PsaName = None,
    config: options.Config = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    no_color: options.NoColor = False,
) -> None:
    """Take rows out of mapping.toml.

    A client, a client's exception, an application, or what it is billed as. Nothing is sent: lines
    in the PSA stay as they are. The text before is kept as mapping.toml.bak.
    """
    from kisi.cli.map.editing import open_mapping

    if (product is not None) is (client is not None or application is not None):
        raise typer.BadParameter(
            "Name a CLIENT, --application NAME (or both: an exception), or --product APPLICATION."
        )
    voice = output.voice(quiet=quiet, verbose=verbose, no_color=no_color)
    with open_mapping(config, voice, offline=True) as editing:
        editing.carry_out(_removal(editing.editor.draft, client, application, product, psa))


def _removal(
    draft: Draft,
    client: str | None,
    application: str | None,
    product: str | None,
    psa: str | None,
) -> Change:
    from kisi.mapping.accept import the_psa
    from kisi.mapping.billed import (
        remove_application,
        remove_client_exception,
        remove_product,
        the_application,
    )
    from kisi.mapping.clients import remove_client, the_client

    if product is not None:
        name = the_application(draft.mapping, product).name
        return remove_product(draft, name, the_psa(psa or "", draft.psas))
    if client is None:
        return remove_application(draft, application or "")
    row = the_client(draft.mapping, client)
    if application is None:
        return remove_client(draft, row)
    return remove_client_exception(draft, row, the_application(draft.mapping, application).name)
