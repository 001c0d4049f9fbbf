"""What the PSA packages share: hints for people, and the numbers of answers."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from kisi.model import AgreementRef


def move(ref: AgreementRef) -> str:
    """The commands that move a client to another agreement."""
    return f"`kisi map renew`, or {move_by_hand(ref)}"


def move_by_hand(ref: AgreementRef) -> str:
    """The command that moves a client to an agreement that a person names."""
    return f"`kisi map company {ref.psa}:{ref.agreement} --agreement ID`"


LARGEST = 10**15
"""From here on it is no quantity and no price, and sums of products would break every report."""
_LONGEST = 40
"""Characters: more than any double or decimal of a database has."""


def exact_number(value: object) -> Decimal | None:
    """A JSON number, or a text that spells one, exactly as it was written.

    None for what nobody can bill: `true`, NaN, infinity, `1e400`, a million digits.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, int) and abs(value) >= LARGEST:
        return None
    spelled = str(value)
    if len(spelled) > _LONGEST:
        return None
    try:
        read = Decimal(spelled)
    except InvalidOperation:
        return None
    # The exponent first: `1e999999999` would fill the memory before it is compared.
    if not read.is_finite() or abs(read.adjusted()) >= _LONGEST or abs(read) >= LARGEST:
        return None
    return read
