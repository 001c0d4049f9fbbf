"""Which agreements of a company can bill, and which one takes the place of one that ended."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date

from kisi.mapping.inventory import AgreementEntry, Inventory
from kisi.mapping.names import fold
from kisi.mapping.validator import BILLS, SystemValidator
from kisi.model import Company
from kisi.psa import PsaAgreement


def runs(agreement: PsaAgreement, today: date) -> bool:
    """Whether the agreement is active, has begun and has not ended."""
    begun = agreement.starts is None or agreement.starts <= today
    return agreement.active and begun and (agreement.ends is None or agreement.ends >= today)


def running(
    inventory: Inventory, psa: str, company: str, today: date
) -> tuple[AgreementEntry, ...]:
    """A company's agreements that run today, also those that are mapped to a client."""
    return tuple(
        entry
        for entry in inventory.agreements
        if entry.psa == psa and entry.agreement.company == company and runs(entry.agreement, today)
    )


@dataclass(frozen=True, slots=True)
class Renewal:
    """A client whose agreement bills nothing any more, and what takes its place."""

    row: int
    """The client's row in the mapping."""
    client: Company
    old: PsaAgreement | None
    """None: the PSA does not know the agreement at all."""
    choices: tuple[PsaAgreement, ...]
    """Running agreements of the same company that no other client has, the likeliest first."""
    successor: PsaAgreement | None
    """The one that is certain enough to be moved to; None where a person must choose."""


def renewals(
    companies: Collection[Company], inventory: Inventory, today: date
) -> tuple[Renewal, ...]:
    """The clients whose agreement does not run today.

    A successor is named where only one free agreement of the company runs, or only one of several
    has the old one's type and name. Clients of a PSA that could not be read are left out.
    """
    validator = SystemValidator.of(inventory, today)
    found = []
    for row, client in enumerate(companies):
        if all(entry.reason in BILLS for entry in validator.agreement(client)):
            continue
        old = validator.listed(client)
        free = [
            entry.agreement
            for entry in running(inventory, client.psa, client.company, today)
            if entry.client is None and entry.agreement.id not in client.alongside
        ]
        choices = sorted(free, key=lambda each: (-_similarity(old, each), len(each.id), each.id))
        found.append(Renewal(row, client, old, tuple(choices), _successor(old, choices)))
    return tuple(found)


def _successor(old: PsaAgreement | None, choices: Collection[PsaAgreement]) -> PsaAgreement | None:
    ranked = list(choices)
    if len(ranked) == 1:
        return ranked[0]
    alike = [each for each in ranked if old is not None and _similarity(old, each) == 3]
    return alike[0] if len(alike) == 1 else None


def _similarity(old: PsaAgreement | None, new: PsaAgreement) -> int:
    """How much of type and name two agreements share: 3 is both."""
    if old is None:
        return 0
    same_kind = fold(old.kind) == fold(new.kind)
    return 2 * same_kind + (_lasting_words(old.name) == _lasting_words(new.name))


def _lasting_words(name: str) -> tuple[str, ...]:
    """A name's words without the years and numbers that a renewal changes."""
    words: Iterable[str] = fold(name).replace("/", " ").replace("-", " ").split()
    return tuple(word for word in words if not any(map(str.isdigit, word)))
