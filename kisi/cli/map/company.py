"""`kisi map company`: adds a client, or gives one other values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from kisi.cli import options, output
from kisi.cli.completion import client_names
from kisi.cli.map.editing import Offline
from kisi.errors import ConfigError

if TYPE_CHECKING:
    from kisi.cli.map.editing import Editing
    from kisi.mapping.change import Change
    from kisi.model import Company, TenantRef


class Switch(StrEnum):
    """Billing of a client."""

    ON = "on"
    OFF = "off"


def map_company(
    client: Annotated[
        str | None,
        typer.Argument(
            metavar="CLIENT",
            autocompletion=client_names,
            help="Change this client: its name, agreement (cw:1042) or a tenant. Without: add one.",
        ),
    ] = None,
    tenant: Annotated[
        list[str] | None,
        typer.Option(metavar="SOURCE:TENANT", help="A tenant to add (repeatable)."),
    ] = None,
    remove_tenant: Annotated[
        list[str] | None,
        typer.Option(metavar="SOURCE:TENANT", help="A tenant to take out (repeatable)."),
    ] = None,
    company: Annotated[
        str | None, typer.Option(metavar="ID", help="The PSA's company id or account number.")
    ] = None,
    agreement: Annotated[str | None, typer.Option(metavar="ID", help="Its agreement.")] = None,
    psa: options.PsaName = None,
    name: Annotated[
        str | None, typer.Option(help="What the client is called; default: as in the PSA.")
    ] = None,
    billing: Annotated[
        Switch | None, typer.Option(help="Whether it is billed; off for a new client.")
    ] = None,
    config: options.Config = None,
    offline: Offline = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    no_color: options.NoColor = False,
) -> None:
    """Add a client, or change one.

    kisi map company --tenant hq:VSRV1 --company 250 --agreement 1042

    kisi map company Contoso --agreement 1077 --billing on
    """
    from kisi.cli.map.editing import open_mapping

    voice = output.voice(quiet=quiet, verbose=verbose, no_color=no_color)
    wanted = _Wanted(tenant or [], remove_tenant or [], company, agreement, psa, name, billing)
    if client is None:
        wanted.refuse_incomplete(offline=offline)
    with open_mapping(config, voice, offline=offline) as editing:
        change = wanted.added(editing) if client is None else wanted.changed(editing, client)
        editing.carry_out(change)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The options, as they were given."""

    tenants: list[str]
    removed: list[str]
    company: str | None
    agreement: str | None
    psa: str | None
    name: str | None
    billing: Switch | None

    def refuse_incomplete(self, *, offline: bool) -> None:
        """A new client needs its ids, and offline also a name.

        Raises:
            typer.BadParameter: One is missing.
        """
        needed = {
            "--tenant": self.tenants,
            "--company": self.company,
            "--agreement": self.agreement,
            "--name (with --offline)": self.name or not offline,
        }
        missing = ", ".join(option for option, value in needed.items() if not value)
        if missing:
            raise typer.BadParameter(
                f"A new client needs {missing}. To change one, name it: kisi map company CLIENT ..."
            )

    def added(self, editing: Editing) -> Change:
        from kisi.mapping.accept import the_psa
        from kisi.mapping.clients import add_clients
        from kisi.model import Company

        draft = editing.editor.draft
        psa = the_psa(self.psa or "", draft.psas)
        company = self.company or ""
        found = editing.live.company(psa, company) if editing.live and not self.name else None
        client = Company(
            name=self.name or (found.name if found else company),
            tenants=self._refs(self.tenants, editing),
            psa=psa,
            company=company,
            agreement=self.agreement or "",
            billing=self.billing is Switch.ON,
        )
        return add_clients(draft, [client])

    def changed(self, editing: Editing, client: str) -> Change:
        from kisi.mapping.accept import the_psa
        from kisi.mapping.clients import change_clients, the_client

        draft = editing.editor.draft
        row = the_client(draft.mapping, client)
        old = draft.mapping.companies[row]
        return change_clients(
            draft,
            {
                row: replace(
                    old,
                    name=self.name or old.name,
                    tenants=self._tenants(old, editing),
                    psa=the_psa(self.psa, draft.psas) if self.psa else old.psa,
                    company=self.company or old.company,
                    agreement=self.agreement or old.agreement,
                    billing=old.billing if self.billing is None else self.billing is Switch.ON,
                )
            },
        )

    def _tenants(self, old: Company, editing: Editing) -> tuple[TenantRef, ...]:
        removed = self._refs(self.removed, editing)
        unknown = [str(ref) for ref in removed if ref not in old.tenants]
        if unknown:
            raise ConfigError(
                f"{', '.join(unknown)}: no tenant of this client. mapping.toml was left as it is.",
                remedy="`kisi map export` shows each client's tenants.",
            )
        kept = [ref for ref in old.tenants if ref not in removed]
        return (*kept, *(ref for ref in self._refs(self.tenants, editing) if ref not in kept))

    @staticmethod
    def _refs(texts: list[str], editing: Editing) -> tuple[TenantRef, ...]:
        from kisi.mapping.clients import tenant_ref

        return tuple(tenant_ref(text, editing.sources) for text in texts)
