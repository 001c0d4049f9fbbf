"""`kisi map billing`: switches the billing of clients on or off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from kisi.cli import options, output
from kisi.cli.completion import client_names
from kisi.cli.map.company import Switch
from kisi.cli.map.editing import Offline, confirmed
from kisi.errors import Withheld

if TYPE_CHECKING:
    from kisi.model import Company

_SHOWN = 20


def map_billing(
    client: Annotated[
        str,
        typer.Argument(
            metavar="CLIENT",
            autocompletion=client_names,
            help="Its name, agreement (cw:1042) or a tenant; or a glob on names.",
        ),
    ],
    switch: Annotated[Switch, typer.Argument(metavar="on|off")],
    config: options.Config = None,
    yes: options.Yes = False,
    offline: Offline = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    no_color: options.NoColor = False,
) -> None:
    """Switch the billing of clients on or off.

    Off: nothing is read or written for it, and its lines stay as they are. On: the ids are proven
    first, and the next `kisi preview` shows what will be billed.
    """
    from kisi.cli.map.editing import open_mapping
    from kisi.mapping.clients import change_clients, the_clients

    voice = output.voice(quiet=quiet, verbose=verbose, no_color=no_color)
    billing = switch is Switch.ON
    with open_mapping(config, voice, offline=offline) as editing:
        draft = editing.editor.draft
        found = the_clients(draft.mapping, client)
        changed = {
            row: replace(draft.mapping.companies[row], billing=billing)
            for row in found
            if draft.mapping.companies[row].billing is not billing
        }
        if len(found) > 1:
            _ask(client, list(changed.values()), switch, yes=yes)
        editing.carry_out(change_clients(draft, changed))


def _ask(wanted: str, changed: Sequence[Company], switch: Switch, *, yes: bool) -> None:
    """Several clients are switched only if a person says so.

    Raises:
        Withheld: Nobody said so.
    """
    from kisi.mapping.clients import called
    from kisi.render.text import safe_text

    if yes or not changed:
        return
    some = ", ".join(called(company) for company in changed[:_SHOWN])
    more = f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
    sentence = f'"{wanted}" names {len(changed)} clients: {some}{more}.'
    if confirmed(f"{safe_text(sentence)} Switch the billing of all of them {switch}?"):
        return
    raise Withheld(
        f"{sentence} mapping.toml was left as it is.",
        remedy="Name one by the id in parentheses, or add --yes to switch all of them.",
    )
