"""`kisi map`: what is billed to whom (mapping.toml)."""

from __future__ import annotations

import sys

import typer

from kisi.cli import options, output
from kisi.cli.map.accept import map_accept
from kisi.cli.map.application import map_application
from kisi.cli.map.billing import map_billing
from kisi.cli.map.company import map_company
from kisi.cli.map.listing import map_list
from kisi.cli.map.product import map_product
from kisi.cli.map.remove import map_remove
from kisi.cli.map.renew import map_renew
from kisi.cli.map.suggest import map_suggest
from kisi.cli.map.table import map_export, map_import

__all__ = ["map_app"]

map_app = typer.Typer(
    invoke_without_command=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@map_app.callback()
def map_root(
    context: typer.Context,
    config: options.Config = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    no_color: options.NoColor = False,
) -> None:
    """Map tenants to clients and applications to products (mapping.toml).

    Without a subcommand, on a terminal: asks, client by client, and keeps every confirmed answer.
    Elsewhere: prints what is unmapped and the commands that map it; it never waits for input.
    """
    if context.invoked_subcommand is not None:
        _refuse_misplaced(context)
        return
    voice = output.voice(quiet=quiet, verbose=verbose, no_color=no_color)
    if sys.stdin.isatty() and sys.stdout.isatty():
        from kisi.cli.map.conversation import map_on_a_terminal

        raise typer.Exit(map_on_a_terminal(config, voice))
    from kisi.cli.map.overview import show_overview

    raise typer.Exit(show_overview(config, voice))


def _refuse_misplaced(context: typer.Context) -> None:
    """An option in front of the subcommand would be taken for one of `kisi map` alone."""
    for name in ("config", "quiet", "verbose", "no_color"):
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            option = "--" + name.replace("_", "-")
            raise typer.BadParameter(
                f"Put it after the subcommand: kisi map {context.invoked_subcommand} {option}",
                param_hint=option,
            )


map_app.command("list")(map_list)
map_app.command("suggest")(map_suggest)
map_app.command("accept")(map_accept)
map_app.command("company")(map_company)
map_app.command("product")(map_product)
map_app.command("application")(map_application)
map_app.command("billing")(map_billing)
map_app.command("remove")(map_remove)
map_app.command("renew")(map_renew)
map_app.command("export")(map_export)
map_app.command("import")(map_import)
