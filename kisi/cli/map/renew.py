"""`kisi map renew`: moves clients whose agreement ended to the one that takes its place."""

from __future__ import annotations

from dataclasses import replace

import typer

from kisi.cli import options, output
from kisi.cli.map.editing import confirmed
from kisi.errors import ExitCode, Withheld


def map_renew(
    config: options.Config = None,
    yes: options.Yes = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    no_color: options.NoColor = False,
) -> None:
    """Move clients to what follows an ended agreement.

    It is shown first. A successor is the only free agreement of the company that runs today, or the
    only one with the old one's type and name. Where a person must choose, the choices are shown and
    nothing is moved.
    """
    from kisi.cli.map.editing import Editing, editor_of, inventory_of, tell_missing
    from kisi.cli.report import Wish, terminal_text
    from kisi.cli.setup import opened
    from kisi.mapping.agreements import renewals
    from kisi.mapping.clients import change_clients
    from kisi.mapping.live import Live
    from kisi.render.stale import renewals_report

    voice = output.voice(quiet=quiet, verbose=verbose, no_color=no_color)
    with opened(config) as setup:
        editor, today = editor_of(setup.config), setup.rules().today
        inventory = inventory_of(setup, voice, keys=False)
        found = renewals(editor.mapping.companies, inventory, today)
        wish = Wish(options.Format.TABLE)
        output.result(terminal_text(renewals_report(found), voice, wish), None)
        tell_missing(inventory, voice)
        moves = {
            renewal.row: replace(renewal.client, agreement=renewal.successor.id)
            for renewal in found
            if renewal.successor is not None
        }
        if moves:
            _ask(len(moves), yes=yes)
            live = Live(setup.sources, setup.psas, today)
            editing = Editing(editor, tuple(setup.sources), live, voice)
            editing.carry_out(change_clients(editor.draft, moves))
        elif not found:
            voice.say("No client's agreement has ended.")
    open_ = len(found) - len(moves)
    raise typer.Exit(inventory.exit_code or (ExitCode.WITHHELD if open_ else ExitCode.OK))


def _ask(moves: int, *, yes: bool) -> None:
    """The moves are made only if a person says so.

    Raises:
        Withheld: Nobody said so.
    """
    clients = "1 client" if moves == 1 else f"{moves} clients"
    if yes or confirmed(f"Move {clients}?"):
        return
    raise Withheld(
        f"{clients} could be moved; mapping.toml was left as it is.",
        remedy="`kisi map renew --yes` moves them.",
    )
