"""The mapping as a table: written, read back, edited in between."""

from __future__ import annotations

import csv
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kisi.config.document import parse_document
from kisi.errors import ConfigError
from kisi.mapping.changes import MappingEdit
from kisi.mapping.file import ConfigNames, read_mapping
from kisi.mapping.table import COLUMNS, import_rows, mapping_csv, read_mapping_table
from kisi.mapping.toml_edit import (
    RowKind,
    TomlEdit,
    toml_row,
)
from kisi.model import Application, BillingMapping, Category, Company, ProductRow, TenantRef, Unit

TEXT = """\
# ours
[[application]]
name = "KES"              # all of it

[[application]]
name = "Mail"
keys = ["Mail;*", "Post*"]
unit = "mailbox"
bill = false

[[product]]
application = "KES"
windows_workstations = 1201
windows_servers = "1202"  # text, to see that it stays

[[company]]
name = "=Contoso"         # hostile
tenants = ["hq:V1", "hq:a; b "]
company = 250
agreement = 1042
[[company.product]]
application = "KES"
all = 1250
[[company.product]]
application = "Mail"
bill = false

[[company]]
name = "Fabrikam"
tenants = ["hq:V2"]
company = 251
agreement = 1043
billing = false
"""


def exported(draft):
    """The table as rows of cells, to be edited."""
    return list(csv.DictReader(StringIO(mapping_csv(draft.mapping), newline="")))


def written(rows):
    buffer = StringIO()
    writer = csv.DictWriter(buffer, COLUMNS)
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


@pytest.fixture
def draft(sides):
    return sides.editor(TEXT)


def imported(draft, rows, **more):
    text = rows if isinstance(rows, str) else written(rows)
    edit = draft.edit()
    table = read_mapping_table(text, edit, name="m.csv")
    import_rows(edit, table, remove_missing=more.get("remove_missing", False))
    return edit.change()


@pytest.mark.parametrize("remove_missing", [True, False])
def test_a_table_that_nobody_edited_changes_nothing(draft, remove_missing):
    change = imported(draft, mapping_csv(draft.mapping), remove_missing=remove_missing)
    assert change.text == TEXT
    assert (change.companies, change.products, change.done) == ((), (), ())


def test_a_table_makes_the_whole_mapping_anew(draft, sides):
    text = mapping_csv(draft.mapping)
    change = imported(sides.editor(""), text)
    assert sides.editor(change.text).mapping == draft.mapping
    assert len(change.companies) == 2


def test_alongside_goes_out_and_comes_back(sides):
    text = TEXT.replace("agreement = 1042\n", 'agreement = 1042\nalongside = [1050, "C; 7"]\n')
    draft = sides.editor(text)
    table = mapping_csv(draft.mapping)
    assert imported(draft, table).text == text
    anew = imported(sides.editor(""), table)
    assert sides.editor(anew.text).mapping == draft.mapping
    assert 'alongside = [1050, "C; 7"]' in anew.text


def test_a_table_changes_alongside_and_leaves_it_where_it_has_no_such_column(draft, sides):
    rows = exported(draft)
    (fabrikam,) = [row for row in rows if row["name"] == "Fabrikam"]
    fabrikam["alongside"] = "1050; 1051"
    change = imported(draft, rows)
    assert change.text == TEXT + "alongside = [1050, 1051]\n"
    changed = sides.editor(change.text)
    old = "\r\n".join(line.rsplit(",", 4)[0] for line in written(exported(draft)).splitlines())
    assert imported(changed, old).text == change.text
    fabrikam["alongside"] = ""
    assert "alongside" not in imported(changed, rows).text


def test_only_the_row_that_was_edited_is_touched(draft):
    rows = exported(draft)
    (fabrikam,) = [row for row in rows if row["name"] == "Fabrikam"]
    fabrikam |= {"billing": "yes", "tenants": "hq:V2; hq:V3"}
    change = imported(draft, rows)
    assert change.text == TEXT.replace("billing = false\n", "billing = true\n").replace(
        '["hq:V2"]', '["hq:V2", "hq:V3"]'
    )
    assert [company.name for company in change.companies] == ["Fabrikam"]
    assert change.done == ('Changed "Fabrikam" (cw:1043): tenants hq:V2, hq:V3, billing on.',)


def test_a_client_can_be_moved_to_another_agreement_or_renamed(draft):
    rows = exported(draft)
    moved = [{**row, "agreement": row["agreement"].replace("1043", "1077")} for row in rows]
    assert imported(draft, moved).text == TEXT.replace("1043", "1077")
    renamed = [
        {**row, "agreement": row["agreement"].replace("1043", "1077"), "name": "F"}
        if row["name"] == "Fabrikam"
        else row
        for row in rows
    ]
    assert imported(draft, renamed).text == TEXT.replace("1043", "1077").replace("Fabrikam", "F")


def test_products_and_applications_are_changed_in_place(sides):
    lost = sides.editor(TEXT)
    draft = sides.editor(TEXT.replace("  # text, to see that it stays", ""))
    rows = exported(draft)
    for row in rows:
        if row["kind"] == "product":
            row |= {"windows_workstations": "", "windows_servers": "", "all": "1200"}
        if row["application"] == "Mail" and row["kind"] == "application":
            row |= {"bill": "", "unit": "", "keys": ""}
    with pytest.raises(ConfigError, match="line 14: windows_servers must go"):
        imported(lost, rows)
    change = imported(draft, rows)
    assert 'application = "KES"\nall = 1200\n' in change.text
    assert 'name = "Mail"\nunit = "device"\nbill = false\n' in change.text
    assert change.products == (ProductRow("KES", "cw", {Category.ALL: "1200"}),)


def test_an_edited_exception_leaves_the_other_one_alone(draft):
    rows = exported(draft)
    for row in rows:
        if row["kind"] == "exception" and row["application"] == "KES":
            row["all"] = "1300"
    change = imported(draft, rows)
    assert change.text == TEXT.replace("1250", "1300")
    assert change.products == (ProductRow("KES", "cw", {Category.ALL: "1300"}),)
    twice = [*rows, {**next(r for r in rows if r["all"] == "1300"), "all": "1400"}]
    assert imported(draft, twice).text.count("[[company.product]]") == 3


def test_what_the_table_does_not_name_stays_unless_it_is_to_go(draft, sides):
    rows = [row for row in exported(draft) if row["name"] == "=Contoso"][:0]
    rows = [row for row in exported(draft) if row["name"] == "Fabrikam"]
    assert imported(draft, rows).text == TEXT
    change = imported(draft, rows, remove_missing=True)
    mapping = sides.editor(change.text).mapping
    assert [company.name for company in mapping.companies] == ["Fabrikam"]
    assert (mapping.applications, mapping.products) == ((), ())
    assert any(each.startswith('Removed "=Contoso" (cw:1042).') for each in change.done)


def test_exceptions_that_the_table_does_not_name_go_too_if_they_are_to(draft):
    rows = [row for row in exported(draft) if row["kind"] != "exception"]
    assert imported(draft, rows).text == TEXT
    assert "company.product" not in imported(draft, rows, remove_missing=True).text


def test_a_new_client_is_not_billed_unless_the_table_says_so(draft):
    row = {"kind": "company", "name": "L", "tenants": "hq:V9", "company": "1", "agreement": "2"}
    assert not imported(draft, [row]).companies[0].billing
    assert imported(draft, [{**row, "billing": "true"}]).companies[0].billing


def test_a_column_that_is_missing_changes_nothing(draft):
    text = "kind,application\napplication,mail\n"
    assert imported(draft, text).text == TEXT


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"kind": "cleint"}, 'There is no kind "cleint"'),
        ({"kind": "company", "name": "L"}, '"agreement" is empty'),
        ({"kind": "company", "tenants": "V1"}, 'write "SOURCE:TENANT"'),
        ({"kind": "company", "psa": "tp"}, "There is no [psa.tp]"),
        ({"kind": "company", "billing": "maybe"}, '"billing" must be yes or no'),
        ({"kind": "application", "application": "X", "unit": "seat"}, 'no unit "seat"'),
        ({"kind": "product"}, '"application" is empty'),
        ({"kind": "exception", "agreement": "7"}, "No company of this table is on agreement cw:7"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(draft, row, words):
    with pytest.raises(ConfigError) as caught:
        imported(draft, [row])
    assert words in caught.value.message
    assert caught.value.message.startswith("m.csv, line 2: ")


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(str.strip)
IDS = st.one_of(st.integers(1, 2**63 - 1).map(str), st.sampled_from(["007", "KES; ADV", "=1", "ü"]))
PRODUCTS = st.one_of(
    IDS.map(lambda ident: {Category.ALL: ident}),
    st.dictionaries(st.sampled_from(list(Category)[1:]), IDS, min_size=1),
)


@st.composite
def mappings(draw):
    names = draw(st.lists(NAMES, unique_by=str.casefold, min_size=1, max_size=3))
    applications = [
        Application(
            name, tuple(draw(st.lists(NAMES, max_size=2))), Unit.DEVICE, draw(st.booleans())
        )
        for name in names
    ]
    agreements = draw(st.lists(IDS, unique=True, max_size=4))
    companies = [
        Company(
            draw(NAMES),
            (TenantRef("hq", draw(NAMES) + str(number)),),
            "cw",
            draw(IDS),
            agreement,
            draw(st.booleans()),
            tuple(
                ProductRow(names[0], "cw", products) if products else
                ProductRow(names[0], "cw", {}, bill=False)
                for products in draw(st.lists(st.one_of(st.none(), PRODUCTS), max_size=1))
            ),
        )
        for number, agreement in enumerate(agreements)
    ]  # fmt: skip
    row = ProductRow(names[-1], "cw", draw(PRODUCTS))
    return BillingMapping(tuple(applications), (row,), tuple(companies))


@given(mappings())
def test_no_mapping_loses_anything_on_the_way_out_and_in(tmp_path_factory, mapping):
    edit = TomlEdit("")
    rows = {
        RowKind.APPLICATION: [toml_row(each) for each in mapping.applications],
        RowKind.PRODUCT: [toml_row(each, ["cw"]) for each in mapping.products],
        RowKind.COMPANY: [toml_row(each, ["cw"]) for each in mapping.companies],
    }
    for kind, each in rows.items():
        edit.append(kind, each)
    text = edit.proven()
    try:
        draft = read(text)
    except ConfigError:
        return  # two applications on one product, one tenant twice: not a mapping at all
    assert imported(draft, mapping_csv(draft.mapping), remove_missing=True).text == text
    anew = imported(read(""), mapping_csv(draft.mapping))
    assert read(anew.text).mapping == draft.mapping


class Draft(NamedTuple):
    """A mapping without a file."""

    text: str
    mapping: BillingMapping

    def edit(self) -> MappingEdit:
        return MappingEdit(self.text, self.mapping, ConfigNames(["hq"], ["cw"]))


def read(text):
    document = parse_document(Path("mapping.toml"), text)
    return Draft(text, read_mapping(document, ConfigNames(["hq"], ["cw"])))


def test_the_names_on_an_invoice_go_out_and_come_back(sides):
    text = TEXT.replace(
        "agreement = 1042\n", 'agreement = 1042\npurchased_as = ["=1+1; AG", "B"]\n'
    )
    text = text.replace("\n[[product]]", 'articles = ["KL4867*"]\n\n[[product]]', 1)
    draft = sides.editor(text)
    assert draft.mapping.applications[1].articles == ("KL4867*",)
    assert draft.mapping.companies[0].purchased_as == ("=1+1; AG", "B")
    table = mapping_csv(draft.mapping)
    assert imported(draft, table).text == text
    anew = imported(sides.editor(""), table)
    assert sides.editor(anew.text).mapping == draft.mapping
