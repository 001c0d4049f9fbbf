from __future__ import annotations

import tomllib

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from kisi.errors import ConfigError, ExitCode
from kisi.mapping.toml_edit import EXCEPTION, RowKind, TomlEdit, has_comment, scan

COMPANY, PRODUCT, APPLICATION = RowKind.COMPANY, RowKind.PRODUCT, RowKind.APPLICATION
TEXT = """\
# Clients of Example MSP

[[application]]            # the only one
name = "KES"

[[company]]
name = "Contoso"           # since 2019
tenants = ["hq:VSRV1"]     # HQ
  billing = false  # until May
[[company.product]]  # contract 17
application = "KES"
all = 1250

# --- B ---
[[company]]
name = "Böhm"
tenants = [
  "hq:VSRV2",  # Lyon
  "hq:VSRV3",
]

[[product]]
application = "KES"
all = 1200
# the end
"""
NEW = {"name": "Fabrikam", "tenants": ["hub:Fabrikam"], "company": 7, "billing": False}


def edited(text, method, *arguments, **more):
    edit = TomlEdit(text)
    getattr(edit, method)(*arguments, **more)
    return edit.proven()


def append_row(text, kind, row):
    return edited(text, "append", kind, [row])


def append_rows(text, kind, rows):
    return edited(text, "append", kind, rows)


def append_exception(text, company, row):
    return edited(text, "append", EXCEPTION, [row], company=company)


def remove_row(text, kind, index):
    return edited(text, "remove", kind, [index])


def remove_exception(text, company, index):
    return edited(text, "remove", EXCEPTION, [index], company=company)


def set_values(text, kind, rows):
    return edited(text, "set_values", kind, rows)


def meaning(text):
    return tomllib.loads(text.removeprefix("\ufeff"))


def changed_lines(before, after):
    """What is only in `before`, what only in `after`."""
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    end = 0
    while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
        end += 1
    return "".join(old[start : len(old) - end]), "".join(new[start : len(new) - end])


def test_a_new_row_stands_behind_the_last_of_its_kind_and_nothing_else_changes():
    after = append_row(TEXT, COMPANY, NEW)
    gone, come = changed_lines(TEXT, after)
    assert gone == ""
    assert come.strip() == (
        '[[company]]\nname = "Fabrikam"\ntenants = ["hub:Fabrikam"]\ncompany = 7\nbilling = false'
    )
    assert after.index("Fabrikam") < after.index("[[product]]")


def test_a_row_of_a_new_kind_stands_at_the_end():
    text = "# mine\n[[company]]\nname = 'A'"
    assert append_row(text, PRODUCT, {"application": "KES", "all": 1}) == (
        text + '\n\n[[product]]\napplication = "KES"\nall = 1'
    )


@pytest.mark.parametrize("text", ["", "\ufeff"])
def test_the_first_row_of_an_empty_file(text):
    assert append_row(text, COMPANY, {"name": "A"}) == text + '[[company]]\nname = "A"\n'


def test_a_row_is_added_with_its_exceptions():
    row = {**NEW, "product": [{"application": "KES", "bill": False}]}
    after = append_row(TEXT, COMPANY, row)
    assert meaning(after)[COMPANY][-1] == row


def test_an_exception_stands_with_its_company():
    after = append_exception(TEXT, 0, {"application": "Mail", "bill": False})
    gone, come = changed_lines(TEXT, after)
    assert gone == ""
    assert come.strip() == '[[company.product]]\napplication = "Mail"\nbill = false'
    assert [row["application"] for row in meaning(after)[COMPANY][0]["product"]] == [
        "KES",
        "Mail",
    ]


def test_a_value_is_set_in_place_and_its_line_keeps_its_comment():
    after = set_values(TEXT, COMPANY, {0: {"billing": True}})
    assert changed_lines(TEXT, after) == (
        "  billing = false  # until May\n",
        "  billing = true  # until May\n",
    )


def test_a_new_key_goes_behind_the_rows_last_one_before_its_sub_tables():
    after = set_values(TEXT, COMPANY, {0: {"agreement": 1042}})
    assert changed_lines(TEXT, after) == ("", "  agreement = 1042\n")
    assert meaning(after)[COMPANY][0]["agreement"] == 1042
    assert set_values("[[company]]", COMPANY, {0: {"company": "x"}}) == '[[company]]\ncompany = "x"'


def test_a_key_is_taken_away_with_its_line():
    bare = TEXT.replace("  # until May", "")
    after = set_values(bare, COMPANY, {0: {"billing": None}})
    assert changed_lines(bare, after) == ("  billing = false\n", "")
    with pytest.raises(ConfigError, match="line 9: billing must go, and the comment behind it"):
        set_values(TEXT, COMPANY, {0: {"billing": None}})
    assert set_values(after, COMPANY, {0: {"billing": None}}) == after


def test_many_rows_are_added_as_one_after_the_other():
    one_by_one = append_row(append_row(TEXT, COMPANY, NEW), COMPANY, {"name": "Last"})
    assert append_rows(TEXT, COMPANY, [NEW, {"name": "Last"}]) == one_by_one
    assert append_rows(TEXT, COMPANY, []) == TEXT


def test_keys_of_many_rows_are_set_as_one_after_the_other():
    text = TEXT.replace("  # until May", "")
    after = set_values(
        text,
        COMPANY,
        {
            1: {"company": 8, "name": "Boehm", "agreement": 9},
            0: {"billing": None, "tenants": ["hq:VSRV9"], "company": 7},
        },
    )
    gone = [line for line in text.splitlines() if line not in after.splitlines()]
    assert gone == [
        'tenants = ["hq:VSRV1"]     # HQ',
        "  billing = false",
        'name = "Böhm"',
    ]
    first, second = meaning(after)[COMPANY]
    assert (first["tenants"], first["company"], "billing" in first) == (["hq:VSRV9"], 7, False)
    assert list(second)[-2:] == ["company", "agreement"]
    assert set_values(TEXT, COMPANY, {}) == TEXT


def test_one_exception_is_taken_out_and_the_others_keep_their_text():
    two = append_exception(TEXT, 0, {"application": "Mail", "bill": False})
    assert remove_exception(two, 0, 1) == TEXT
    assert "contract 17" not in remove_exception(two, 0, 0)
    assert "product" not in meaning(remove_exception(TEXT, 0, 0))[COMPANY][0]
    inline = '[[company]]\nproduct = [{ application = "KES", all = 1 }]\n'
    with pytest.raises(ConfigError, match="cannot change one of them"):
        remove_exception(inline, 0, 0)
    with pytest.raises(ConfigError, match="cannot change one of them"):
        remove_exception('company = [{ product = [{ application = "KES", all = 1 }] }]\n', 0, 0)


def test_a_list_with_comments_inside_is_managed_by_hand():
    with pytest.raises(ConfigError, match="line 17: the value of tenants has comments inside"):
        set_values(TEXT, COMPANY, {1: {"tenants": ["hq:VSRV2"]}})


def test_a_row_is_removed_with_its_sub_tables_and_comments_above_it_stay():
    after = remove_row(TEXT, COMPANY, 0)
    assert [row["name"] for row in meaning(after)[COMPANY]] == ["Böhm"]
    assert "# --- B ---\n[[company]]" in after
    assert "contract 17" not in after
    assert after.startswith("# Clients of Example MSP\n\n[[application]]")
    assert meaning(remove_row(after, COMPANY, 0)).keys() == {"application", "product"}


def test_sub_tables_that_stand_elsewhere_belong_to_their_row():
    text = '[[company]]\nname = "A"\n[[product]]\nall = 1\n[[company.product]]\nall = 2\n'
    assert remove_row(text, COMPANY, 0) == "[[product]]\nall = 1\n"


def test_true_and_1_are_not_the_same():
    text = "[[company]]\nbilling = 1\n"
    assert set_values(text, COMPANY, {0: {"billing": True}}) == "[[company]]\nbilling = true\n"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_and_the_byte_order_mark_stay(end, mark):
    text = mark + TEXT.replace("\n", end)
    after = append_row(text, COMPANY, NEW)
    after = set_values(after, COMPANY, {0: {"agreement": 5}})
    assert after.startswith(mark + "# Clients")
    assert after.count("\n") == after.count(end)
    assert meaning(after)["company"][-1] == NEW


def test_keys_are_found_however_they_are_quoted():
    text = '[["company"]]\n"billing"=false\n'
    assert set_values(text, COMPANY, {0: {"billing": True}}) == '[["company"]]\n"billing"=true\n'


@pytest.mark.parametrize(
    "text",
    [
        'company = [{ name = "A" }]\n',
        '[company]\nname = "A"\n',
        "company = []\n[x]\n",
    ],
)  # fmt: skip
def test_rows_in_other_forms_are_refused(text):
    with pytest.raises(ConfigError) as caught:
        append_row(text, COMPANY, NEW)
    assert caught.value.exit_code is ExitCode.CONFIG
    assert caught.value.remedy


def test_exceptions_in_an_inline_list_are_refused():
    text = '[[company]]\nname = "A"\nproduct = [{ application = "KES", all = 1 }]\n'
    with pytest.raises(ConfigError, match="in a way that kisi cannot change"):
        append_exception(text, 0, {"application": "Mail", "all": 2})
    assert set_values(text, COMPANY, {0: {"company": 3}})


def test_a_name_that_cannot_be_written_is_refused():
    with pytest.raises(ConfigError, match=r"half of a character \(U\+D800, a lone surrogate\)"):
        append_row(TEXT, COMPANY, {"name": "a\ud800"})


NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@given(NAMES, NAMES, st.sampled_from(["\n", "\r\n"]), st.integers(0, 1))
def test_any_name_can_be_added_changed_and_removed_again_without_a_trace(name, tenant, end, index):
    text = TEXT.replace("\n", end)
    added = append_row(text, COMPANY, {"name": name, "tenants": [tenant]})
    assert meaning(added)[COMPANY][2] == {"name": name, "tenants": [tenant]}
    assert remove_row(added, COMPANY, 2) == text
    renamed = set_values(text, COMPANY, {index: {"name": name}})
    assert meaning(renamed)[COMPANY][index]["name"] == name
    before = meaning(text)[COMPANY][index]["name"]
    assert set_values(renamed, COMPANY, {index: {"name": before}}) == text


# --- where things stand in a text

TRICKY = '''\ufeff# [[company]] in a comment
title = "[[company]] # in text"  # and after it
"quoted key".'and literal'.bare = { a = [1, { b = "}" }], c = "#" } # tail
long = """
[[company]]
""\\" x = 1
"""""
literal = \'\'\'
[[company]]\'\'\'
list = [ # first
  "a]", \'b[\', # second
  [1, 2],
]
when = 1979-05-27 07:32:00 # a date with a space
  [[ company ]]  # header
  name = \'C:\\\' # literal
[[company . "product"]]
[company.detail]
n = 1'''


def test_headers_and_keys_are_found_where_tomllib_sees_them():
    assert tomllib.loads(TRICKY[1:])
    parts = scan(TRICKY[1:])
    assert "".join(x.gap + x.text + x.value + x.behind for x in parts) == TRICKY[1:]
    assert [(part.key, part.array, part.line) for part in parts if part.header] == [
        (("company",), True, 15),
        (("company", "product"), True, 17),
        (("company", "detail"), False, 18),
    ]
    top = {part.key: part.value for part in parts if 0 < part.line < 15}
    assert top[("title",)] == '"[[company]] # in text"'
    assert top[("quoted key", "and literal", "bare")] == '{ a = [1, { b = "}" }], c = "#" }'
    assert top[("long",)].endswith('"""""')
    assert top[("list",)].endswith("[1, 2],\n]")
    assert top[("when",)] == "1979-05-27 07:32:00"
    header, name = parts[len(top) :][:2]
    assert header.text + header.behind == "  [[ company ]]  # header\n"
    assert name.text + name.value + name.behind == "  name = 'C:\\' # literal\n"
    assert name.key == ("name",)


@pytest.mark.parametrize(
    ("value", "comment"),
    [
        ('["a # b"]', False),
        ("[ # c\n1]", True),
        ("'''#'''", False),
        ('["\\"#"]', False),
        ('["a", # b\n]', True),
    ],
)
def test_a_comment_inside_a_list_is_told_from_text(value, comment):
    assert has_comment(value) is comment


SCALARS = (
    st.text()
    | st.integers(-(2**63), 2**63 - 1)
    | st.booleans()
    | st.datetimes()
    | st.floats(allow_nan=False)
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3), max_leaves=8)
TABLES = st.recursive(
    st.dictionaries(st.text(), VALUES, max_size=4),
    lambda inner: st.dictionaries(st.text(), VALUES | inner, max_size=3),
    max_leaves=6,
)


@given(TABLES, st.booleans())
def test_every_value_of_a_document_parses_from_its_own_span(data, multiline):
    text = tomli_w.dumps(data, multiline_strings=multiline)
    found = 0
    table = whole = tomllib.loads(text)
    for part in scan(text):
        if part.header:
            table = whole
            for name in part.key:
                table = table[name]
        elif part.key:
            assert tomllib.loads(f"v = {part.value}")["v"] == table[part.key[0]]
            found += 1
    assert found == leaves(data)


def leaves(table):
    return sum(leaves(value) if isinstance(value, dict) else 1 for value in table.values())
