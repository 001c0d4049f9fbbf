"""Whether an account and an agreement are fit to bill: pure, from what was read of both."""

from __future__ import annotations

from datetime import date

from kisi.model import Agreement, AgreementRef, NotBillable
from kisi.psa.advice import move, move_by_hand
from kisi.psa.tigerpaw.records import AgreementRecord


def judge(
    ref: AgreementRef,
    agreement: AgreementRecord | None,
    *,
    account_exists: bool,
    cross_referenced: bool,
    external_product: str,
    today: date,
) -> Agreement:
    """Judge an agreement against the client that is mapped to it.

    Args:
        ref: The mapped account and agreement.
        agreement: What Tigerpaw has under that number; None: nothing.
        account_exists: Whether Tigerpaw knows the account.
        cross_referenced: Whether the account has a cross reference to `external_product`.
        external_product: The External Product that the API user is bound to.
        today: The day in the billing time zone.
    """
    if not account_exists:
        not_billable: NotBillable | None = _no_account(ref)
    elif agreement is None:
        not_billable = _no_agreement(ref)
    elif agreement.number != ref.agreement:
        not_billable = _of_another_number(ref, agreement)
    elif agreement.account != ref.company:
        not_billable = _of_another_account(ref, agreement)
    elif not cross_referenced:
        not_billable = _not_cross_referenced(ref, agreement, external_product)
    else:
        not_billable = _out_of_term(ref, agreement, today)
    return Agreement(
        ref=ref,
        name=agreement.kind if agreement else "",
        not_billable=not_billable,
        bill_start=agreement.starts if agreement else None,
        ends=agreement.ends if agreement else None,
        gone=agreement is None or not agreement.active(today),
    )


def is_number(text: str) -> bool:
    """Whether an account, agreement or charge can have this number."""
    return text.isascii() and text.isdigit()


def not_a_number(ref: AgreementRef) -> Agreement | None:
    """The judgement on ids that Tigerpaw cannot have, so that nothing need be asked; else None."""
    for guard, value in (("account", ref.company), ("agreement", ref.agreement)):
        if not is_number(value):
            not_billable = NotBillable(
                guard,
                f'"{value:.40}" is not a Tigerpaw {guard} number.',
                f"Correct the {guard} in mapping.toml; `kisi map list` shows the numbers.",
            )
            return Agreement(ref=ref, not_billable=not_billable)
    return None


def _no_account(ref: AgreementRef) -> NotBillable:
    return NotBillable(
        "account",
        f"Tigerpaw has no account {ref.company}.",
        "Correct company in mapping.toml: it is Tigerpaw's account number, not its account id.",
    )


def _no_agreement(ref: AgreementRef) -> NotBillable:
    return NotBillable(
        "agreement",
        f"Tigerpaw has no agreement {ref.agreement}.",
        f"If another one takes its place: {move(ref)}.",
    )


def _of_another_number(ref: AgreementRef, agreement: AgreementRecord) -> NotBillable:
    return NotBillable(
        "agreement",
        f"Tigerpaw calls agreement {ref.agreement} {agreement.number:.40}.",
        f'Write "{agreement.number:.40}" in mapping.toml, so that no agreement has two names.',
    )


def _of_another_account(ref: AgreementRef, agreement: AgreementRecord) -> NotBillable:
    owner = f"{agreement.account} ({agreement.account_name})" if agreement.account_name else ""
    return NotBillable(
        "agreement",
        f"Agreement {ref.agreement} belongs to account {owner or agreement.account}, not to "
        f"account {ref.company}.",
        "Correct company or agreement in mapping.toml.",
    )


def _not_cross_referenced(
    ref: AgreementRef, agreement: AgreementRecord, external_product: str
) -> NotBillable:
    account = f"{ref.company} ({agreement.account_name})" if agreement.account_name else ref.company
    return NotBillable(
        "account",
        f'Account {account} is not cross-referenced to the External Product "{external_product}", '
        "so its agreements cannot be billed by the API user.",
        f"In Tigerpaw open the account, choose Assign External Products to an Account, and add "
        f'"{external_product}" with any External ID. If the list does not offer it, make it first '
        "in Edit > Master Tables > Account > External Products > New.",
    )


def _out_of_term(ref: AgreementRef, agreement: AgreementRecord, today: date) -> NotBillable | None:
    if agreement.starts and agreement.starts > today:
        return NotBillable(
            "agreement",
            f"Agreement {ref.agreement} starts on {agreement.starts}.",
            "Nothing to do if it is to be billed from then on; otherwise name the agreement that "
            f"is active today: {move_by_hand(ref)}.",
        )
    if agreement.ends and agreement.ends < today:
        return NotBillable(
            "agreement",
            f"Agreement {ref.agreement} ended on {agreement.ends}.",
            f"Extend it in Tigerpaw. If another one follows it: {move(ref)}.",
        )
    return None
