"""Turns accepted proposals into rows of mapping.toml."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from kisi.config.sentences import did_you_mean, shorten
from kisi.errors import ConfigError
from kisi.mapping.billed import find_application, set_application, set_product, with_keys
from kisi.mapping.change import Change, Draft
from kisi.mapping.clients import UNTOUCHED, add_clients, tenant_ref
from kisi.mapping.editor import MappingEditor
from kisi.mapping.proposals import ApplicationProposal, ClientProposal, Proposals
from kisi.model import Application, Company, ProductRow


def accept(editor: MappingEditor, proposals: Proposals, sources: Collection[str]) -> Change:
    """The rows of every proposal that is to be accepted, applications first.

    Raises:
        ConfigError: All that cannot be accepted: a tenant that is mapped already, an unknown
            source or PSA, an application that is billed already.
    """
    change = Change(editor.draft.text)
    for proposal in proposals.applications:
        if proposal.accept:
            change = change.followed_by(_application(editor.check(change.text), proposal, editor))
    draft = editor.check(change.text)
    companies = _companies(proposals.clients, sources, draft.psas)
    return change.followed_by(add_clients(draft, companies))


def _companies(
    proposals: Sequence[ClientProposal], sources: Collection[str], psas: Sequence[str]
) -> list[Company]:
    companies = []
    problems: list[str] = []
    for proposal in proposals:
        if not proposal.accept:
            continue
        try:
            ref = tenant_ref(proposal.tenant, sources)
            psa = the_psa(proposal.psa, psas)
        except ConfigError as error:
            problems += error.problems
            continue
        companies.append(
            Company(
                name=proposal.name,
                tenants=(ref,),
                psa=psa,
                company=proposal.company,
                agreement=proposal.agreement,
                billing=proposal.billing,
            )
        )
    if problems:
        raise ConfigError(problems, remedy="Correct the file, then accept it again.")
    return companies


def _application(draft: Draft, proposal: ApplicationProposal, editor: MappingEditor) -> Change:
    """An application and its products; key names of one that is there already are added to it."""
    mapping = draft.mapping
    row = find_application(mapping, proposal.name)
    application = Application(proposal.name, proposal.keys, proposal.unit, proposal.bill)
    if row is not None:
        application = with_keys(mapping.applications[row], application.globs)
    change = set_application(draft, application)
    if not proposal.products:
        return change
    psa = the_psa(proposal.psa, draft.psas)
    product = ProductRow(application.name, psa, proposal.products)
    if any((r.application, r.psa) == (product.application, psa) for r in mapping.products):
        raise ConfigError(
            f'"{shorten(application.name)}" is billed in psa.{psa} already. {UNTOUCHED}',
            remedy="Leave the products of this row empty, or use `kisi map product`.",
        )
    return change.followed_by(set_product(editor.check(change.text), product))


def the_psa(name: str, psas: Sequence[str]) -> str:
    """The PSA of this name; the only one where none is named.

    Raises:
        ConfigError: There is none of this name, or none is named and there are several.
    """
    if name in psas:
        return name
    if not name and len(psas) == 1:
        return psas[0]
    if not name:
        raise ConfigError(
            f"kisi.toml has several PSAs ({', '.join(psas)}), and none is named. {UNTOUCHED}",
            remedy="Name one of them.",
        )
    raise ConfigError(
        f"There is no [psa.{shorten(name)}] in kisi.toml; {did_you_mean(name, psas)} {UNTOUCHED}",
        remedy="Name one of them.",
    )
