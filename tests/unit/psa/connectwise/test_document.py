"""Against the names in ConnectWise's OpenAPI document (tests/specs)."""

from __future__ import annotations

import pytest

from kisi.psa.connectwise.wire import AGREEMENTS, CATALOG, COMPANIES, additions
from tests.specs import interface_description
from tests.unit.psa.connectwise.conftest import (
    ADDITIONS,
    AGREEMENT,
    TODAY,
    addition_row,
    planned,
    sent,
)


@pytest.fixture(scope="module")
def document():
    return interface_description("connectwise.openapi")


@pytest.mark.parametrize(
    ("schema", "fields"),
    [
        ("Agreement", AGREEMENTS.fields),
        ("Addition", additions(1).fields),
        ("CatalogItem", CATALOG.fields),
        ("Company", COMPANIES.fields),
    ],
)
def test_every_field_that_is_asked_for_is_in_the_document(document, schema, fields):
    known = document["components"]["schemas"][schema]["properties"]
    assert {field.partition("/")[0] for field in fields.split(",")} <= set(known)


def test_every_path_and_method_is_in_the_document(document):
    paths = document["paths"]
    additions = "/finance/agreements/{parentId}/additions"
    assert {AGREEMENTS.path, CATALOG.path, COMPANIES.path, f"{AGREEMENTS.path}/count"} <= set(paths)
    assert {"get", "post"} <= set(paths[additions])
    assert "patch" in paths[f"{additions}/{{id}}"]


def test_a_create_has_what_the_document_requires(document, psa, api):
    schema = document["components"]["schemas"]["Addition"]
    api.post(ADDITIONS, json=addition_row(), status=201)
    psa.write(planned(), AGREEMENT, TODAY)
    (body,) = sent(api)
    assert set(schema["required"]) <= set(body) <= set(schema["properties"])
    assert body["billCustomer"] in schema["properties"]["billCustomer"]["enum"]
