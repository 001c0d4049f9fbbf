"""What `kisi check --online` asks Tigerpaw: keys, clock, database, rights. Writes nothing.

The SOAP login is not among it: no operation of that service is known that would do nothing.
"""

from __future__ import annotations

from kisi.errors import PsaError
from kisi.model import Finding, Level
from kisi.psa.tigerpaw.records import names_product
from kisi.psa.tigerpaw.rest import Rest
from kisi.psa.tigerpaw.settings import TigerpawSettings
from kisi.redaction import remote_text
from kisi.transport import Clock, clock_finding, clock_skew

_IF_SKEWED = "it may refuse the signatures"

_RIGHTS = (
    ("/api/accounts/search", "AccountName", "Accounts"),
    ("/api/agreements/search", "AgreementNumber", "Recurring agreements"),
    ("/api/pricebook/items/search", "ItemId", "Price book items"),
)


def check_online(rest: Rest, settings: TigerpawSettings, clock: Clock) -> tuple[Finding, ...]:
    """All checks; the first alone if the keys are refused or nothing answers."""
    path = "/api/diagnostics/validate/user"
    try:
        answer = rest.send("GET", path)
        rest.decode("GET", path, answer)
    except PsaError as error:
        return (Finding.of(error),)
    return (
        Finding(Level.OK, f"{rest.label} accepted the REST keys."),
        clock_finding(clock_skew(answer, clock.now()), rest.label, _IF_SKEWED),
        _database(rest),
        _external_product(rest, settings.external_product),
        *(_right_to_read(rest, *right) for right in _RIGHTS),
        *_writes(rest, settings),
    )


def _database(rest: Rest) -> Finding:
    path = "/api/diagnostics/productInformation"
    try:
        answer = rest.get(path)
    except PsaError as error:
        return Finding.of(error)
    fields = answer if isinstance(answer, dict) else {}
    if fields.get("IsArchivedDatabase") is True:
        return Finding(
            Level.PROBLEM,
            f"{rest.label} serves an archived database: nothing in it is invoiced any more.",
            "Correct url in kisi.toml.",
        )
    version = remote_text(str(fields.get("DatabaseVersion") or ""), 40)
    if not version:
        return Finding(Level.NOTE, f"{rest.label} does not say which version it is.")
    return Finding(Level.OK, f"{rest.label} runs database version {version}.")


def _external_product(rest: Rest, product: str) -> Finding:
    path = "/api/mastertables/externalproducts"
    try:
        answer = rest.get(path, {"excludeSystemEntries": "false"})
    except PsaError as error:
        return Finding.of(error)
    records = answer if isinstance(answer, list) else []
    found = [record for record in records if names_product(record, product)]
    if not found:
        return Finding(
            Level.PROBLEM,
            f'{rest.label} has no External Product "{product}", so no account can be '
            "cross-referenced to it.",
            "Make it in Edit > Master Tables > Account > External Products > New, or correct "
            "external_product in kisi.toml.",
        )
    if all(record.get("Active") is False for record in found):
        return Finding(
            Level.PROBLEM,
            f'The External Product "{product}" of {rest.label} is not active.',
            "Activate it in Edit > Master Tables > Account > External Products.",
        )
    return Finding(Level.OK, f'{rest.label} has the External Product "{product}".')


def _right_to_read(rest: Rest, path: str, search_type: str, right: str) -> Finding:
    try:
        _, _, total = rest.page(path, search_type, rest.first_row, size=1)
    except PsaError as error:
        return Finding(
            Level.PROBLEM, error.message, f'Give the rep\'s security role "{right}: get".'
        )
    if not total:
        return Finding(
            Level.PROBLEM,
            f"{rest.label} shows no record at all of {right}.",
            f'Give the rep\'s security role "{right}: get".',
        )
    return Finding(Level.OK, f"The rep may read {right} of {rest.label} ({total}).")


def _writes(rest: Rest, settings: TigerpawSettings) -> tuple[Finding, ...]:
    if settings.write == "report":
        return (Finding(Level.NOTE, f"{rest.label} is set to report: kisi writes nothing there."),)
    if settings.soap_template_verified:
        return (Finding(Level.NOTE, f"The SOAP login of {rest.label} shows only at a write."),)
    return (
        Finding(
            Level.PROBLEM,
            f"The SOAP template of {rest.label} is not proven, so every write is held.",
            "Run `kisi check --probe-tigerpaw AGREEMENT` on a scratch agreement.",
        ),
    )
