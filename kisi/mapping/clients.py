"""The clients of mapping.toml: found by what a person types, added, changed, removed.

Pure: a `Draft` in, a `Change` out. Names may repeat, so a client can also be named by its agreement
(`cw:1042`) or by one of its tenants (`hq:VSRV...`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from kisi.config.sentences import did_you_mean, shorten
from kisi.errors import ConfigError
from kisi.mapping.change import Change, Draft, company_row, toml_id
from kisi.mapping.edit import RowKind, append_rows, remove_row, set_values
from kisi.model import BillingMapping, Company, Glob, TenantRef

UNTOUCHED = "mapping.toml was left as it is."
_LISTED = 12


def called(company: Company) -> str:
    """A client in a sentence, so that it can be told from another of the same name."""
    return f'"{shorten(company.name)}" ({company.psa}:{company.agreement})'


def find_clients(mapping: BillingMapping, wanted: str) -> tuple[int, ...]:
    """The rows of the clients that `wanted` names.

    The first of these that finds any: the exact name; the agreement as `psa:agreement`; a tenant as
    `source:tenant`; the name in any case; a glob on the name.
    """
    rules: tuple[Callable[[Company], bool], ...] = (
        lambda company: company.name == wanted,
        lambda company: f"{company.psa}:{company.agreement}" == wanted,
        lambda company: wanted in map(str, company.tenants),
        lambda company: company.name.casefold() == wanted.casefold(),
        lambda company: Glob(wanted).matches(company.name),
    )
    for rule in rules:
        found = tuple(row for row, company in enumerate(mapping.companies) if rule(company))
        if found:
            return found
    return ()


def the_clients(mapping: BillingMapping, wanted: str) -> tuple[int, ...]:
    """As `find_clients`, at least one.

    Raises:
        ConfigError: There is none.
    """
    found = find_clients(mapping, wanted)
    if not found:
        names = [company.name for company in mapping.companies]
        raise ConfigError(
            f'mapping.toml has no client "{shorten(wanted)}"; {did_you_mean(wanted, names)} '
            f"{UNTOUCHED}",
            remedy="`kisi map list` shows the clients; an agreement (cw:1042) names one too.",
        )
    return found


def the_client(mapping: BillingMapping, wanted: str) -> int:
    """The row of the one client that `wanted` names.

    Raises:
        ConfigError: There is none, or there are several.
    """
    found = the_clients(mapping, wanted)
    if len(found) > 1:
        some = ", ".join(called(mapping.companies[row]) for row in found[:_LISTED])
        more = f" and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
        raise ConfigError(
            f'"{shorten(wanted)}" names several clients: {some}{more}. {UNTOUCHED}',
            remedy="Name the one you mean by the id in parentheses after it.",
        )
    return found[0]


def add_clients(draft: Draft, companies: Sequence[Company]) -> Change:
    """Adds clients; tenants of one on an agreement that is mapped already join the client there.

    Raises:
        ConfigError: A tenant is mapped already, or the agreement is mapped to another company.
    """
    mapping = draft.mapping
    wanted, problems = _merged(mapping, companies)
    if problems:
        raise ConfigError(problems, remedy=f"{UNTOUCHED} Leave these out, or correct them.")
    on = _by_agreement(mapping)
    known = {on[key]: company for key, company in wanted.items() if key in on}
    new = [company for key, company in wanted.items() if key not in on]
    joined = {row: replace(mapping.companies[row], tenants=c.tenants) for row, c in known.items()}
    text = set_values(
        draft.text,
        RowKind.COMPANY,
        {row: {"tenants": list(map(str, company.tenants))} for row, company in joined.items()},
    )
    rows = [company_row(company, draft.psas) for company in new]
    text = append_rows(text, RowKind.COMPANY, rows)
    done = [_joined(mapping.companies[row], company) for row, company in joined.items()]
    done += [_added(company) for company in new]
    return Change(text, (*joined.values(), *new), done=tuple(done))


def _by_agreement(mapping: BillingMapping) -> dict[tuple[str, str], int]:
    return {(each.psa, each.agreement): row for row, each in enumerate(mapping.companies)}


def _merged(
    mapping: BillingMapping, companies: Iterable[Company]
) -> tuple[dict[tuple[str, str], Company], list[str]]:
    """One client an agreement, all its tenants together; and what is wrong with that."""
    owners = {
        ref.identity(mapping.global_sources): (ref, each)
        for each in mapping.companies
        for ref in each.tenants
    }
    present = {key: mapping.companies[row] for key, row in _by_agreement(mapping).items()}
    wanted: dict[tuple[str, str], Company] = {}
    problems: list[str] = []
    for company in companies:
        key = (company.psa, company.agreement)
        before = wanted.get(key, present.get(key))
        if before and before.company != company.company:
            problems.append(
                f"Agreement {company.psa}:{company.agreement} is mapped to {called(before)}, "
                f"company {before.company}, not {company.company}."
            )
        for ref in company.tenants:
            identity = ref.identity(mapping.global_sources)
            known, owner = owners.setdefault(identity, (ref, company))
            if owner is not company or known != ref or company.tenants.count(ref) > 1:
                problems.append(_mapped_already(ref, known, owner))
        joined = before.tenants + company.tenants if before else company.tenants
        wanted[key] = replace(before or company, tenants=joined)
    return wanted, problems


def _mapped_already(ref: TenantRef, known: TenantRef, owner: Company) -> str:
    tenant = f'Tenant "{shorten(str(ref))}"'
    if ref == known:
        return f"{tenant} is mapped already, to {called(owner)}."
    return (
        f'{tenant} is the same virtual server as "{shorten(str(known))}", which is mapped already, '
        f"to {called(owner)}: each of its devices would be billed twice."
    )


def _added(company: Company) -> str:
    billing = "on" if company.billing else "off"
    count = len(company.tenants)
    tenants = "1 tenant" if count == 1 else f"{count} tenants"
    return f"Added {called(company)}: {tenants}, billing {billing}."


def _joined(before: Company, after: Company) -> str:
    new = ", ".join(shorten(str(ref)) for ref in after.tenants[len(before.tenants) :])
    billed = "which is billed" if before.billing else "whose billing is off"
    return f"Added {new} to {called(before)}, {billed}."


def change_clients(draft: Draft, changed: Mapping[int, Company]) -> Change:
    """Gives clients other values; what stays as it is keeps its text. Exceptions are not touched.

    Raises:
        ConfigError: A tenant is mapped to another client already, or the text cannot be edited.
    """
    mapping = draft.mapping
    owners = {
        ref.identity(mapping.global_sources): (ref, row)
        for row, each in enumerate(mapping.companies)
        for ref in each.tenants
    }
    problems = [
        _mapped_already(ref, known, mapping.companies[owner])
        for row, company in changed.items()
        for ref in company.tenants
        for known, owner in [owners.get(ref.identity(mapping.global_sources), (ref, row))]
        if owner not in changed
    ]
    if problems:
        raise ConfigError(problems, remedy=f"{UNTOUCHED} A tenant belongs to one client.")
    values = {row: differences(mapping.companies[row], new) for row, new in changed.items()}
    values = {row: each for row, each in values.items() if each}
    text = set_values(draft.text, RowKind.COMPANY, values)
    verify = tuple(changed[row] for row, each in values.items() if must_exist(each))
    done = tuple(
        f"Changed {called(mapping.companies[row])}: {_in_words(each)}."
        for row, each in values.items()
    )
    return Change(text, verify, done=done)


def differences(old: Company, new: Company) -> dict[str, object]:
    """The keys of a row that must change, with their new values."""
    kept: dict[str, tuple[object, object, object]] = {
        "name": (old.name, new.name, new.name),
        "tenants": (old.tenants, new.tenants, [str(ref) for ref in new.tenants]),
        "psa": (old.psa, new.psa, new.psa),
        "company": (old.company, new.company, toml_id(new.company)),
        "agreement": (old.agreement, new.agreement, toml_id(new.agreement)),
        "alongside": (
            old.alongside,
            new.alongside,
            [toml_id(agreement) for agreement in new.alongside] or None,
        ),
        "billing": (old.billing, new.billing, new.billing),
    }
    return {key: written for key, (a, b, written) in kept.items() if a != b}


def must_exist(values: Mapping[str, object]) -> bool:
    """Whether changed keys of a client bring ids in, or switch its billing on."""
    ids = {"tenants", "psa", "company", "agreement"}
    return bool(ids & set(values)) or values.get("billing") is True


def _in_words(values: Mapping[str, object]) -> str:
    words = []
    for key, value in values.items():
        if key == "billing":
            words.append("billing on" if value else "billing off")
        elif isinstance(value, list):
            words.append(f"{key} {', '.join(shorten(str(each)) for each in value)}")
        else:
            words.append(f"{key} {shorten(str(value))}")
    return ", ".join(words)


def remove_client(draft: Draft, row: int) -> Change:
    """Takes a client out. Its lines in the PSA stay as they are.

    Raises:
        ConfigError: The text cannot be edited.
    """
    company = draft.mapping.companies[row]
    done = (
        f"Removed {called(company)}. Its lines in psa.{company.psa} stay as they are; kisi does "
        "not keep them up any more."
    )
    return Change(remove_row(draft.text, RowKind.COMPANY, row), done=(done,))


def tenant_ref(text: str, sources: Collection[str]) -> TenantRef:
    """`source:tenant` as a person types it.

    Raises:
        ConfigError: It has another form, or there is no such source.
    """
    source, colon, tenant = text.partition(":")
    if not colon or not tenant.strip():
        raise ConfigError(
            f'"{shorten(text)}" is not a tenant: write SOURCE:TENANT. {UNTOUCHED}',
            remedy="`kisi map list` shows the tenants as they are written here.",
        )
    if source not in sources:
        raise ConfigError(
            f'"{shorten(text)}": There is no [sources.{shorten(source)}] in kisi.toml; '
            f"{did_you_mean(source, sources)} {UNTOUCHED}",
            remedy="`kisi map list` shows the tenants as they are written here.",
        )
    return TenantRef(source, tenant)
