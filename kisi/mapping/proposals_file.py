"""Proposals as a file that a person edits: CSV for a spreadsheet, JSON for a program; and back.

Only ids decide when a file is accepted. Scores, reasons and the tenant's name are for reading.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kisi.config.sentences import did_you_mean, shorten, type_name
from kisi.errors import ConfigError
from kisi.json_text import FORMAT_VERSION, Json
from kisi.mapping.csv_cells import csv_cell, csv_list, read_csv, write_csv
from kisi.mapping.proposals import ApplicationProposal, ClientProposal, Proposals
from kisi.model import Category, Unit

COLUMNS = (
    *("accept", "kind", "tenant_name", "name", "score", "reason", "tenant", "psa", "company"),
    *("agreement", "billing", "keys", "unit", "bill", *map(str, Category)),
)
_CLIENT = ("accept", "tenant", "tenant_name", "name", "psa", "company", "agreement", "billing")
_APPLICATION = ("accept", "name", "keys", "unit", "psa", "bill", *map(str, Category))
_DECORATION = ("score", "reason")
_FLAGS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
_ADVICE = "Correct the file and accept it again; `kisi map suggest` writes a new one."


def proposals_csv(proposals: Proposals) -> str:
    """The proposals as one table, a kind a row: `client` or `application`."""
    rows: list[dict[str, str]] = [_client_cells(client) for client in proposals.clients]
    rows += [_application_cells(application) for application in proposals.applications]
    return write_csv(COLUMNS, rows)


def _client_cells(client: ClientProposal) -> dict[str, str]:
    return {
        "accept": _flag(client.accept),
        "kind": "client",
        "tenant_name": csv_cell(client.tenant_name),
        "name": csv_cell(client.name),
        "score": f"{client.score:.2f}",
        "reason": csv_cell(client.reason),
        "tenant": csv_cell(client.tenant),
        "psa": client.psa,
        "company": csv_cell(client.company),
        "agreement": csv_cell(client.agreement),
        "billing": _flag(client.billing),
    }


def _application_cells(application: ApplicationProposal) -> dict[str, str]:
    return {
        "accept": _flag(application.accept),
        "kind": "application",
        "name": csv_cell(application.name),
        "score": f"{application.score:.2f}",
        "reason": csv_cell(application.reason),
        "psa": application.psa,
        "keys": csv_list(application.keys),
        "unit": str(application.unit),
        "bill": _flag(application.bill),
        **{str(category): csv_cell(ident) for category, ident in application.products.items()},
    }


def _flag(value: bool) -> str:  # noqa: FBT001 - a value to write, not a switch
    return "yes" if value else "no"


def proposals_document(proposals: Proposals) -> Json:
    """The proposals as JSON data; `without_suggestion` is for reading alone."""
    return {
        "format_version": FORMAT_VERSION,
        "exit_code": 0,
        "clients": [
            {key: getattr(client, key) for key in (*_CLIENT, *_DECORATION)}
            for client in proposals.clients
        ],
        "applications": [_application_json(each) for each in proposals.applications],
        "without_suggestion": [
            {"source": tenant.ref.source, "tenant": tenant.ref.tenant, "name": tenant.name}
            for tenant in proposals.without
        ],
    }


def _application_json(application: ApplicationProposal) -> dict[str, Any]:
    plain = {
        key: getattr(application, key) for key in ("accept", "name", "psa", "bill", *_DECORATION)
    }
    products = {str(category): ident for category, ident in application.products.items()}
    return {
        **plain,
        "keys": list(application.keys),
        "unit": str(application.unit),
        **products,
    }


# --- and back -----------------------------------------------------------------------------------


def read_proposals(text: str, *, name: str) -> Proposals:
    """The proposals of a file that a person may have edited.

    Args:
        text: The file: JSON if it begins with `{`, else CSV.
        name: What messages call it.

    Raises:
        ConfigError: All problems, each with its line or place.
    """
    as_json = text.lstrip("\ufeff \t\r\n").startswith("{")
    records = list(_json_records(text, name) if as_json else _csv_records(text, name))
    problems: list[str] = []
    clients = [_client(record) for record in records if record.kind == "client"]
    applications = [_application(record) for record in records if record.kind == "application"]
    for record in records:
        if record.kind not in {"client", "application"}:
            hint = did_you_mean(record.kind, ("client", "application"))
            record.problem(f'There is no kind "{shorten(record.kind)}"; {hint}')
        problems += record.problems
    if problems:
        raise ConfigError([*problems, "Nothing was changed."], remedy=_ADVICE)
    return Proposals(tuple(clients), tuple(applications))


@dataclass(slots=True)
class _Record:
    """One proposal as it was read: text values, with the place for messages."""

    place: str
    kind: str
    values: Mapping[str, str]
    keys: tuple[str, ...] = ()
    problems: list[str] = field(default_factory=list)

    def problem(self, sentence: str) -> None:
        self.problems.append(f"{self.place}: {sentence}")

    def needed(self, key: str) -> str:
        value = self.values.get(key, "")
        if not value.strip() and self.flag("accept", default=False):
            self.problem(f'"{key}" is empty, so that this cannot be accepted.')
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        value = self.values.get(key, "").strip().casefold()
        if value and value not in _FLAGS:
            sentence = f'{self.place}: "{key}" must be yes or no, not "{shorten(value)}".'
            if sentence not in self.problems:
                self.problems.append(sentence)
        return _FLAGS.get(value, default)

    def number(self, key: str) -> float:
        try:
            return float(self.values.get(key) or 0)
        except ValueError:
            return 0.0


def _client(record: _Record) -> ClientProposal:
    return ClientProposal(
        accept=record.flag("accept", default=False),
        tenant=record.needed("tenant"),
        tenant_name=record.values.get("tenant_name", ""),
        name=record.needed("name"),
        psa=record.values.get("psa", ""),
        company=record.needed("company").strip(),
        agreement=record.needed("agreement").strip(),
        billing=record.flag("billing", default=False),
        score=record.number("score"),
        reason=record.values.get("reason", ""),
    )


def _application(record: _Record) -> ApplicationProposal:
    unit = record.values.get("unit", "").strip() or str(Unit.DEVICE)
    if unit not in set(Unit):
        record.problem(f'There is no unit "{shorten(unit)}"; {did_you_mean(unit, list(Unit))}')
        unit = str(Unit.DEVICE)
    return ApplicationProposal(
        accept=record.flag("accept", default=False),
        name=record.needed("name"),
        keys=record.keys,
        unit=Unit(unit),
        psa=record.values.get("psa", ""),
        products={
            category: value
            for category in Category
            if (value := record.values.get(str(category), "").strip())
        },
        bill=record.flag("bill", default=True),
        score=record.number("score"),
        reason=record.values.get("reason", ""),
    )


def _csv_records(text: str, name: str) -> Iterator[_Record]:
    for row in read_csv(text, COLUMNS, name=name):
        place = f"{name}, line {row.line}"
        kind = row.cells.get("kind", "").strip().casefold()
        yield _Record(place, kind, row.cells, row.several("keys"))


def _json_records(text: str, name: str) -> Iterator[_Record]:
    try:
        document = json.loads(text.removeprefix("\ufeff"))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ConfigError(f"{name}: This is not JSON ({error}). Nothing was changed.") from error
    kinds: tuple[tuple[str, str, Sequence[str]], ...] = (
        ("clients", "client", _CLIENT),
        ("applications", "application", _APPLICATION),
    )
    for table, kind, known in kinds:
        entries = document.get(table, [])
        if not isinstance(entries, list):
            raise _wrong(name, f'"{table}" must be a list, not {type_name(entries)}.')
        for number, entry in enumerate(entries, 1):
            yield _json_record(f"{name}, {table} {number}", kind, entry, known)


def _json_record(place: str, kind: str, entry: object, known: Sequence[str]) -> _Record:
    if not isinstance(entry, dict):
        raise _wrong(place, f"This must be an object, not {type_name(entry)}.")
    record = _Record(place, kind, {})
    values: dict[str, str] = {}
    for key, value in entry.items():
        if key == "keys" and isinstance(value, list) and all(isinstance(k, str) for k in value):
            record.keys = tuple(value)
        elif key not in known and key not in _DECORATION:
            record.problem(f'Unknown key "{shorten(key)}"; {did_you_mean(key, known)}')
        elif (as_text := _text(value)) is None or key == "keys":
            record.problem(f'"{key}" has a value of the wrong type: {type_name(value)}.')
        else:
            values[key] = as_text
    record.values = values
    return record


def _text(value: object) -> str | None:
    """An id may be a number or text in JSON too."""
    words: tuple[tuple[type, Callable[[Any], str]], ...] = (
        (bool, lambda flag: "yes" if flag else "no"),
        (int, str),
        (float, str),
        (str, str),
        (type(None), lambda _: ""),
    )
    return next((write(value) for kind, write in words if isinstance(value, kind)), None)


def _wrong(place: str, sentence: str) -> ConfigError:
    return ConfigError(f"{place}: {sentence} Nothing was changed.", remedy=_ADVICE)
