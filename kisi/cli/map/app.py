"""`kisi map`: its commands, and what it shows without one."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from kisi.cli.map.clients import map_billing, map_company, map_renew
from kisi.cli.map.listing import map_list, map_suggest
from kisi.cli.map.products import map_application, map_product, map_remove
from kisi.cli.map.table import map_accept, map_export, map_import
from kisi.cli.options import shared_options
from kisi.cli.output import Console, result

_NEXT = """\
What to do next:
  kisi map suggest --format csv --output suggestions.csv
  kisi map accept suggestions.csv          (after you have looked through it)
  kisi map company --tenant SOURCE:TENANT --company ID --agreement ID
  kisi map product APPLICATION --all ID
  kisi map billing CLIENT on               (new clients are not billed yet)
On a terminal, `kisi map` asks client by client. `kisi map list` shows all ids."""

map_app = typer.Typer(
    invoke_without_command=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@map_app.callback()
@shared_options()
def map_root(config: Path | None, console: Console, context: typer.Context) -> None:
    """Map tenants to clients and applications to products (mapping.toml).

    Without a subcommand, on a terminal: asks, client by client, and keeps every confirmed answer.
    Elsewhere: prints what is unmapped and the commands that map it; it never waits for input.
    """
    if context.invoked_subcommand is not None:
        _refuse_misplaced(context)
        return
    if sys.stdin.isatty() and sys.stdout.isatty():
        from kisi.cli.map.conversation import map_on_a_terminal

        raise typer.Exit(map_on_a_terminal(config, console))
    raise typer.Exit(_show_overview(config, console))


def _show_overview(config: Path | None, console: Console) -> int:
    """Prints what is unmapped and how to map it; the exit code of what could not be read."""
    from kisi.cli.map.editing import inventory_of, tell_missing
    from kisi.cli.options import Format
    from kisi.cli.output import OutputOptions, terminal_text
    from kisi.render.map_lists import unmapped_report
    from kisi.run.setup import opened

    with opened(config) as setup:
        inventory = inventory_of(setup, console)
    report = unmapped_report(inventory.only_unmapped())
    result(terminal_text(report, console, OutputOptions(Format.TABLE)), None)
    tell_missing(inventory, console)
    if report.sections:
        console.info(_NEXT)
    elif not inventory.missing:
        console.info("Nothing is unmapped.")
    return inventory.exit_code


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
