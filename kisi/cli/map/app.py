"""`kisi map`: its commands, and what it shows without one."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from kisi.cli.map import rows, tables
from kisi.cli.map.editing import inventory_of, tell_missing
from kisi.cli.options import shared_options
from kisi.cli.output import Console, result, terminal_text

_NEXT = """\
What to do next:
  kisi map suggest --format csv --output suggestions.csv
  kisi map accept suggestions.csv          (after you have looked through it)
  kisi map company --tenant SOURCE:TENANT --company ID --agreement ID
  kisi map product APPLICATION --all ID
  kisi map billing CLIENT on               (new clients are not billed yet)
On a terminal, `kisi map` asks client by client. `kisi map list` shows all ids."""

map_app = typer.Typer(
    invoke_without_command=True, rich_markup_mode=None, pretty_exceptions_enable=False
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
        from kisi.cli.map.questions import map_on_a_terminal

        raise typer.Exit(map_on_a_terminal(config, console))
    raise typer.Exit(_show_overview(config, console))


def _show_overview(config: Path | None, console: Console) -> int:
    """Prints what is unmapped and how to map it; the exit code of what could not be read."""
    from kisi.render.map_lists import unmapped_report
    from kisi.run.setup import opened

    with opened(config) as setup:
        inventory = inventory_of(setup, console)
    report = unmapped_report(inventory.only_unmapped())
    result(terminal_text(report, console), None)
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


map_app.command("list")(tables.map_list)
map_app.command("suggest")(tables.map_suggest)
map_app.command("accept")(tables.map_accept)
map_app.command("company")(rows.map_company)
map_app.command("product")(rows.map_product)
map_app.command("application")(rows.map_application)
map_app.command("billing")(rows.map_billing)
map_app.command("remove")(rows.map_remove)
map_app.command("renew")(rows.map_renew)
map_app.command("export")(tables.map_export)
map_app.command("import")(tables.map_import)
