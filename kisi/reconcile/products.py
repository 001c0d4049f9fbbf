"""What the catalogues say of the products of new lines: a name, a price, and whether it can be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from kisi.errors import ExitCode, PsaError
from kisi.model import Action, CompanyPlan, Failure, PlannedLine
from kisi.planning import failed
from kisi.psa import Psa, PsaProduct
from kisi.redaction import REDACTOR

_Catalogue = dict[tuple[str, str], PsaProduct | None]
"""What was asked for, by PSA and id; None if there is no such product."""

_REMEDY = "Correct its [[product]] row; `kisi map list` shows the products."


def with_products(
    companies: Iterable[CompanyPlan], psas: Mapping[str, Psa]
) -> tuple[tuple[CompanyPlan, ...], tuple[str, ...]]:
    """Adds names and prices to creates, and fails the clients of which the PSA would refuse one.

    Such a client fails as a whole: in its plan an older line may make room for the one that cannot
    be made. Where a catalogue cannot be read, a note says so, and nothing else changes.
    """
    plans = tuple(companies)
    catalogue, notes = _read(plans, psas)
    return tuple(_judged(plan, catalogue) for plan in plans), notes


def _read(
    plans: Iterable[CompanyPlan], psas: Mapping[str, Psa]
) -> tuple[_Catalogue, tuple[str, ...]]:
    creates = [line for plan in plans for line in plan.lines if line.action is Action.CREATE]
    catalogue: _Catalogue = {}
    notes: list[str] = []
    for name in sorted({line.psa for line in creates}):
        ids = sorted({line.product for line in creates if line.psa == name})
        try:
            found = psas[name].products(ids)
        except PsaError as error:
            said = REDACTOR.redact(error.message)
            notes.append(f"Prices of {name} could not be read: {said}")
            continue
        catalogue |= {(name, product): found.get(product) for product in ids}
    return catalogue, tuple(notes)


def _judged(plan: CompanyPlan, catalogue: _Catalogue) -> CompanyPlan:
    creates = [line for line in plan.lines if line.action is Action.CREATE]
    refused = [reason for line in creates if (reason := _obstacle(line, catalogue))]
    if refused:
        failure = Failure("product", "; ".join(refused), _REMEDY, ExitCode.WITHHELD)
        return failed(plan.company, failure, unmapped=plan.unmapped, notes=plan.notes)
    return replace(plan, lines=tuple(_informed(line, catalogue) for line in plan.lines))


def _obstacle(line: PlannedLine, catalogue: _Catalogue) -> str:
    """Why the PSA would refuse a new line of this product; empty if it would not, or was not asked.

    `active` is false for what is of a kind that no agreement can carry too, such as a bundle.
    """
    key = (line.psa, line.product)
    if key not in catalogue:
        return ""
    product = catalogue[key]
    billing = f"product {line.product}, which is to bill {line.application},"
    if product is None:
        return f"{billing} does not exist in psa.{line.psa}"
    if not product.active:
        return f"{billing} is inactive in psa.{line.psa}, or of a kind that no agreement can carry"
    return ""


def _informed(line: PlannedLine, catalogue: _Catalogue) -> PlannedLine:
    product = catalogue.get((line.psa, line.product))
    if line.action is not Action.CREATE or product is None:
        return line
    return replace(line, unit_price=product.price, description=product.name)
