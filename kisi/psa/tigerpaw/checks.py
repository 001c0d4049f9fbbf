"""What `kisi check --online` asks Tigerpaw: keys, clock, database, rights. Writes nothing.

The SOAP login is not among it: no operation of that service is known that would do nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum

from kisi.errors import PsaError
from kisi.psa.tigerpaw.records import names_product
from kisi.psa.tigerpaw.rest import Rest
from kisi.psa.tigerpaw.settings import TigerpawSettings
from kisi.transport import Answer, Clock

LARGEST_SKEW = timedelta(minutes=5)
"""How far a signature's date may be off is not documented; within this nobody refuses it."""

_RIGHTS = (
    ("/api/accounts/search", "AccountName", "Accounts"),
    ("/api/agreements/search", "AgreementNumber", "Recurring agreements"),
    ("/api/pricebook/items/search", "ItemId", "Price book items"),
)


class Level(StrEnum):
    """How a finding ends."""

    OK = "ok"
    NOTE = "note"
    """Nothing is wrong, or it could not be proven."""
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked."""

    level: Level
    message: str
    remedy: str = ""


def check_online(rest: Rest, settings: TigerpawSettings, clock: Clock) -> tuple[Finding, ...]:
    """All checks; the first alone if the keys are refused or nothing answers."""
    path = "/api/diagnostics/validate/user"
    try:
        answer = rest.send("GET", path)
        rest.decode("GET", path, answer)
    except PsaError as error:
        return (_problem(error),)
    return (
        Finding(Level.OK, f"{rest.label} accepted the REST keys."),
        _skew(rest, answer, clock.now()),
        _database(rest),
        _external_product(rest, settings.external_product),
        *(_right_to_read(rest, *right) for right in _RIGHTS),
        *_writes(rest, settings),
    )


def _problem(error: PsaError) -> Finding:
    return Finding(Level.PROBLEM, error.message, error.remedy)


def _skew(rest: Rest, answer: Answer, now: datetime) -> Finding:
    """Compares this machine's clock with the answer's `Date` header (RFC 9110, 6.6.1)."""
    try:
        theirs = parsedate_to_datetime(answer.headers.get("Date", ""))
    except ValueError:
        return Finding(Level.NOTE, f"{rest.label} does not say what time it is.")
    skew = now - (theirs if theirs.tzinfo else theirs.replace(tzinfo=UTC))
    if abs(skew) <= LARGEST_SKEW:
        return Finding(Level.OK, f"The clocks of this machine and of {rest.label} agree.")
    direction = "ahead of" if skew > timedelta(0) else "behind"
    return Finding(
        Level.PROBLEM,
        f"This machine's clock is {abs(skew) // timedelta(minutes=1)} minutes {direction} that of "
        f"{rest.label}, which may refuse the signatures because of it.",
        "Set the clock, and keep it set with NTP.",
    )


def _database(rest: Rest) -> Finding:
    path = "/api/diagnostics/productInformation"
    try:
        answer = rest.get(path)
    except PsaError as error:
        return _problem(error)
    fields = answer if isinstance(answer, dict) else {}
    if fields.get("IsArchivedDatabase") is True:
        return Finding(
            Level.PROBLEM,
            f"{rest.label} serves an archived database: nothing in it is invoiced any more.",
            "Correct url in kisi.toml.",
        )
    version = str(fields.get("DatabaseVersion") or "")[:40]
    if not version:
        return Finding(Level.NOTE, f"{rest.label} does not say which version it is.")
    return Finding(Level.OK, f"{rest.label} runs database version {version}.")


def _external_product(rest: Rest, product: str) -> Finding:
    path = "/api/mastertables/externalproducts"
    try:
        answer = rest.get(path, {"excludeSystemEntries": "false"})
    except PsaError as error:
        return _problem(error)
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
