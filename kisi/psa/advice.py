"""What every PSA advises where an agreement is not fit to bill."""

from __future__ import annotations

from kisi.model import AgreementRef


def move(ref: AgreementRef) -> str:
    """The commands that move a client to another agreement."""
    return f"`kisi map renew`, or {move_by_hand(ref)}"


def move_by_hand(ref: AgreementRef) -> str:
    """The command that moves a client to an agreement that a person names."""
    return f"`kisi map company {ref.psa}:{ref.agreement} --agreement ID`"
