"""mapping.toml: rows into the model, and every rule that rows can break, alone or together."""

from __future__ import annotations

import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kisi.errors import ConfigError, ExitCode
from kisi.mapping.file import ConfigNames, load_mapping
from kisi.model import Application, BillingMapping, Category, Company, ProductRow, TenantRef, Unit
from kisi.planning import rows_of
from tests.conftest import posix_links

AGAIN = "write it again by hand, without what was copied along."
KES = '[[application]]\nname = "KES"\n'
MAIL = '[[application]]\nname = "Mail"\nunit = "mailbox"\n'
KES_1 = '[[product]]\napplication = "KES"\nall = 1\n'


def company(name, agreement, tenants, rest=""):
    return (
        f'[[company]]\nname = "{name}"\ntenants = {tenants}\ncompany = 250\n'
        f"agreement = {agreement}\n{rest}"
    )


CONTOSO = company("Contoso", 1042, ["hq:A"])


@pytest.fixture
def load(tmp_path):
    def loaded(text, psas=("cw",)):
        path = tmp_path / "mapping.toml"
        path.write_text(text, encoding="utf-8")
        return load_mapping(path, ConfigNames(["hq", "hub"], psas))

    return loaded


@pytest.fixture
def problems(load):
    def found(text, psas=("cw",)):
        with pytest.raises(ConfigError) as caught:
            load(text, psas)
        assert caught.value.exit_code is ExitCode.CONFIG
        return [problem.removeprefix("mapping.toml: ") for problem in caught.value.problems]

    return found


def test_a_missing_file_maps_nothing(tmp_path):
    assert load_mapping(tmp_path / "mapping.toml", ConfigNames([], [])) == BillingMapping()


@posix_links
def test_a_broken_link_is_an_error(tmp_path):
    path = tmp_path / "mapping.toml"
    path.symlink_to(tmp_path / "unmounted" / "mapping.toml")
    with pytest.raises(ConfigError, match="There is no file"):
        load_mapping(path, ConfigNames([], []))


def test_every_key_becomes_part_of_the_model(load):
    mapping = load(
        '[[application]]\nname = "KES"\nkeys = ["Kaspersky *Adv*"]\n'
        '[[application]]\nname = "Cloud"\nunit = "user"\n'
        '[[application]]\nname = "Old"\nbill = false\n'
        '[[product]]\napplication = "KES"\npsa = "cw"\nwindows_workstations = 1201\n'
        'windows_servers = "1202"\nnon_windows = 1201\n'
        '[[product]]\napplication = "Cloud"\npsa = "tp"\nall = "A-7"\n'
        '[[company]]\nname = "Contoso"\ntenants = ["hq:VSRV1", "hub:Contoso: Ltd"]\npsa = "cw"\n'
        'company = "250"\nagreement = 1042\nbilling = false\n'
        '[[company.product]]\napplication = "KES"\nall = 1250\n'
        '[[company.product]]\napplication = "Cloud"\nbill = false\n',
        psas=("cw", "tp"),
    )
    assert mapping.applications == (
        Application("KES", keys=("Kaspersky *Adv*",)),
        Application("Cloud", unit=Unit.USER),
        Application("Old", bill=False),
    )
    assert mapping.products == (
        ProductRow(
            "KES",
            "cw",
            {
                Category.WINDOWS_WORKSTATIONS: "1201",
                Category.WINDOWS_SERVERS: "1202",
                Category.NON_WINDOWS: "1201",
            },
        ),
        ProductRow("Cloud", "tp", {Category.ALL: "A-7"}),
    )
    assert mapping.companies == (
        Company(
            name="Contoso",
            tenants=(TenantRef("hq", "VSRV1"), TenantRef("hub", "Contoso: Ltd")),
            psa="cw",
            company="250",
            agreement="1042",
            billing=False,
            exceptions=(
                ProductRow("KES", "cw", {Category.ALL: "1250"}),
                ProductRow("Cloud", "cw", {}, bill=False),
            ),
        ),
    )


def test_the_only_psa_need_not_be_named(load):
    mapping = load(KES + KES_1 + CONTOSO)
    assert {mapping.products[0].psa, mapping.companies[0].psa} == {"cw"}


def test_several_psas_or_none_must_be_resolved_by_a_person(problems):
    several = problems(KES + KES_1 + CONTOSO, psas=("cw", "tp"))
    assert [problem.partition(") psa: ")[2] for problem in several] == [
        'kisi.toml has several PSAs ("cw", "tp"), and none is named.'
    ] * 2
    assert all("kisi.toml has no [psa.NAME]" in each for each in problems(KES + KES_1, psas=()))


def test_a_problem_names_the_row_for_people(problems):
    text = f"# clients\n{KES}\n{KES_1}\n{CONTOSO}\n" + company("Fabrikam", -1, ["hq:B"])
    assert problems(text) == [
        (
            '[[company]] "Fabrikam" (row 2, line 15) agreement: '
            "An id is a number from 1 to 9223372036854775807, or text."
        )
    ]


def test_a_problem_of_an_exception_names_its_client_too(problems):
    text = KES + CONTOSO + company("Fabrikam", 2, ["hq:B"])
    text += '[[company.product]]\napplication = "KES"\n[["company".product]]\napplication = "KS"\nall = 1\n'
    first, second = problems(text)
    where = '[[company]] "Fabrikam" (row 2, line 8), [[company.product]] '
    assert first.startswith(where + '"KES" (row 1, line 13): It names no product')
    assert second == (
        where + '"KS" (row 2, line 15) application: There is no [[application]] of this name; '
        'did you mean "KES"?'
    )


def test_rows_without_headers_of_their_own_are_named_without_a_line(problems):
    inline = 'company = [{name = "Contoso", tenants = ["hq:A"], company = 1, agreement = 0}]\n'
    assert problems(inline)[0].startswith('[[company]] "Contoso" (row 1) agreement: ')
    quoted = 'application = [{name = """\n[[application]]\n""", unit = 1}]\n'
    assert problems(quoted)[0].startswith("[[application]]")


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("true", "An id is a whole number or text, not true or false."),
        ("1.0", "An id is a whole number or text, not a decimal number."),
        ("[1]", "An id is a whole number or text, not a list."),
        ("-5", "An id is a number from 1 to 9223372036854775807, or text."),
        ("0", "An id is a number from 1 to 9223372036854775807, or text."),
        ("9223372036854775808", "An id is a number from 1 to 9223372036854775807, or text."),
        ('"9223372036854775808"', "An id is a number from 1 to 9223372036854775807, or text."),
        ("0x" + "f" * 5000, "An id is a number from 1 to 9223372036854775807, or text."),
        ("'" + "9" * 5000 + "'", "An id is a number from 1 to 9223372036854775807, or text."),
        ('""', "An id must not be empty or have spaces around it."),
        ('" 7"', "An id must not be empty or have spaces around it."),
        ('"7\\n"', "An id must not hold invisible characters, and this one holds U+000A; " + AGAIN),
        (
            '"10\u200b42"',
            "An id must not hold invisible characters, and this one holds U+200B; " + AGAIN,
        ),
        (
            '"\u00a07"',
            "An id must not hold invisible characters, and this one holds U+00A0; " + AGAIN,
        ),
        (
            '"7\\u0000"',
            "An id must not hold invisible characters, and this one holds U+0000; " + AGAIN,
        ),
        (
            '"7\u3164"',
            "An id must not hold invisible characters, and this one holds U+3164; " + AGAIN,
        ),
        ("2026-11-30", "This is a date or time; put text in quotes."),
    ],
)
def test_an_id_is_a_positive_number_or_text(problems, value, problem):
    (found,) = problems(KES + KES_1.replace("all = 1", f"all = {value}"))
    assert found.endswith(f" all: {problem}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[[companies]]\n", ['[[companies]]: Unknown table; did you mean "company"?']),
        ("[company]\n", ["[[company]]: Write its rows under [[company]], in double brackets."]),
        ("product = 3\n", ["[[product]]: Write its rows under [[product]], in double brackets."]),
        ("[[application]]\n", ["[[application]] (row 1, line 1) name: This key is missing."]),
        (KES + "unit = 'devise'\n", ['unit: This must be "device", "user" or "mailbox"; did you mean "device"?']),
        (KES + "keys = 'KES*'\n", ["keys: This must be a list in [brackets], not text."]),
        (KES + "keys = []\n", ["keys: This list is empty."]),
        (KES + "keys = ['a', 1]\n", ["keys, entry 2: This must be text in quotes, not a whole number."]),
        (KES + "keys = [' ']\n", ["keys, entry 1: This must be text in quotes, not empty text."]),
        (KES + "bill = 'no'\n", ["bill: This must be true or false, without quotes, not text."]),
        (KES + "kyes = ['a']\n", ['kyes: Unknown key; did you mean "keys"?']),
        (KES.replace("KES", " "), ["name: This must be text in quotes, not empty text."]),
        (KES + KES.replace("KES", "kes"), ['[[application]] "KES" (row 1, line 1) has this name already.']),
        (CONTOSO.replace('name = "Contoso"', "name = 5"), ["name: This must be text in quotes, not a whole number."]),
        (CONTOSO.replace("company = 250\n", ""), ["company: This key is missing."]),
        (CONTOSO.replace("tenants = ['hq:A']\n", ""), ["tenants: This key is missing."]),
        (CONTOSO.replace("['hq:A']", "[]"), ["tenants: This list is empty."]),
        (CONTOSO.replace("hq:A", "VSRV1"), ['write "SOURCE:TENANT", such as "hq:VSRV1".']),
        (CONTOSO.replace("hq:A", "hq:"), ['"hq:" is not a tenant']),
        (CONTOSO.replace("hq:A", "hup:A"), ['"hup:A": There is no [sources.hup] in kisi.toml; did you mean "hub"?']),
        (company("C", 1, ["hq:A", "hub:A", "hq:A"]), ['tenants: "hq:A" is named twice.']),
        (CONTOSO + "psa = 'cv'\n", ['psa: There is no [psa.cv] in kisi.toml; use one of "cw".']),
        (CONTOSO + "psa = 1\n", ["psa: This must be text in quotes, not a whole number."]),
        (CONTOSO + "[company.product]\nall = 1\n", ["[[company.product]]: Write its rows under [[company.product]]"]),
    ],
)  # fmt: skip
def test_a_wrong_row_is_told_by_key(problems, text, expected):
    found = problems(text)
    assert len(found) == len(expected)
    assert all(part in problem for part, problem in zip(expected, found, strict=True))


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("", "It names no product: write all = ID, or windows_workstations"),
        ("all = 1\nnon_windows = 2", "It names a product for all devices and for categories"),
        ("all = 1\nbill = true", " bill: This belongs in [[application]]"),
    ],
)
def test_a_product_row_says_one_thing(problems, row, problem):
    (found,) = problems(KES + f'[[product]]\napplication = "KES"\n{row}\n')
    assert problem in found


def test_a_product_row_may_leave_out_a_category(load):
    text = KES + '[[product]]\napplication = "KES"\nwindows_servers = 2\n'
    assert load(text).products[0].products == {Category.WINDOWS_SERVERS: "2"}


@pytest.mark.parametrize("unit", ["user", "mailbox"])
def test_users_and_mailboxes_have_no_categories(problems, unit):
    text = f'[[application]]\nname = "A"\nunit = "{unit}"\n[[product]]\napplication = "A"\n'
    (found,) = problems(text + "windows_servers = 1\n")
    assert found.endswith(f'An application with unit = "{unit}" has no categories: write all = ID.')


def test_an_exception_leaves_to_people_or_names_products_of_its_own_psa(problems, load):
    exception = '[[company.product]]\napplication = "KES"\n'
    (both,) = problems(KES + CONTOSO + exception + "all = 1\nbill = false\n")
    assert both.endswith("It names products, and bill = false says that nothing is billed.")
    (neither,) = problems(KES + CONTOSO + exception)
    assert neither.endswith("To manage it by hand, write bill = false.")
    (twice,) = problems(KES + CONTOSO + exception + "all = 1\n" + exception + "all = 2\n")
    assert "is an exception for this application already" in twice
    other = CONTOSO + 'psa = "cw"\n' + exception + 'psa = "tp"\nall = 1\n'
    (foreign,) = problems(KES + other, psas=("cw", "tp"))
    assert foreign.endswith(" psa: An exception is for its client's own PSA; leave this key out.")
    assert load(KES + other.replace("tp", "cw"), psas=("cw", "tp"))


def test_two_general_rows_for_one_application_and_psa_are_refused(problems, load):
    (found,) = problems(KES + KES_1 + KES_1.replace("1", "2"))
    second = '[[product]] "KES" (row 2, line 6) application: [[product]] "KES" (row 1, line 3)'
    assert found.startswith(second)
    rows = KES_1 + 'psa = "cw"\n' + KES_1 + 'psa = "tp"\n'
    assert len(load(KES + rows, psas=("cw", "tp")).products) == 2


def test_two_clients_on_one_agreement_are_refused_also_with_billing_off(problems, load):
    second = company("Fabrikam", '"1042"', ["hq:B"], "billing = false\n")
    (found,) = problems(CONTOSO + second)
    assert found.startswith(
        '[[company]] "Fabrikam" (row 2, line 6) agreement: [[company]] "Contoso"'
    )
    other = second.replace("billing = false", 'psa = "tp"')
    assert load(CONTOSO + 'psa = "cw"\n' + other, psas=("cw", "tp"))


def test_one_tenant_is_billed_to_one_client(problems, load):
    second = company("Fabrikam", 2, ["hq:B", "hq:A"])
    (found,) = problems(CONTOSO + second)
    assert '"hq:A" is billed to [[company]] "Contoso" (row 1, line 1) already' in found
    assert len(load(CONTOSO + second + "billing = false\n").companies) == 2


def test_two_applications_on_one_product_are_refused_once_for_all_clients(problems):
    rows = KES + MAIL + KES_1 + KES_1.replace("KES", "Mail")
    clients = CONTOSO + company("Fabrikam", 2, ["hq:B"])
    for text in (rows, rows + clients):
        (found,) = problems(text)
        assert found.startswith('[[product]] "Mail" (row 2, line 9): "KES" and "Mail" would both')


def test_two_categories_of_one_application_may_share_a_product(load):
    rows = '[[product]]\napplication = "KES"\nwindows_servers = 1\nnon_windows = 1\n'
    assert load(KES + rows + CONTOSO)


def test_exceptions_count_when_products_are_shared(problems, load):
    general = KES + MAIL + KES_1 + '[[product]]\napplication = "Mail"\nall = 2\n'
    exception = '[[company.product]]\napplication = "Mail"\nall = 1\n'
    (found,) = problems(general + CONTOSO + exception)
    assert found.startswith('[[company]] "Contoso" (row 1, line 12): "KES" and "Mail" would both')
    left = '[[company.product]]\napplication = "KES"\nbill = false\n'
    assert load(general + CONTOSO + exception + left)


def test_a_clash_of_general_rows_that_every_client_avoids_is_none(load, problems):
    rows = KES + MAIL + KES_1 + KES_1.replace("KES", "Mail")
    avoiding = CONTOSO + '[[company.product]]\napplication = "Mail"\nall = 2\n'
    assert load(rows + avoiding)
    assert len(problems(rows + avoiding + company("Fabrikam", 2, ["hq:B"]))) == 1


def test_an_exception_cannot_bill_an_application_that_is_never_billed(problems, load):
    never = KES + MAIL + "bill = false\n" + KES_1 + KES_1.replace("KES", "Mail") + CONTOSO
    exception = '[[company.product]]\napplication = "Mail"\n'
    assert load(never)
    assert load(never + exception + "bill = false\n")
    (found,) = problems(never + exception + "all = 1\n")
    assert found.startswith('[[company]] "Contoso" (row 1, line 13), [[company.product]] "Mail"')
    assert found.endswith(
        'It names products, and bill = false of [[application]] "Mail" (row 2, line 3) says that '
        "this application is never billed; take bill = false away there, or the products here."
    )


def test_all_problems_of_all_rows_are_found_at_once(problems):
    found = problems(
        KES + KES_1.replace("all = 1", "all = true") + CONTOSO.replace("250", "1.5")
        + company("Fabrikam", 1042, ["hq:A", "nowhere"])
    )  # fmt: skip
    assert len(found) == 5


def test_a_wrong_entry_hides_no_problem_of_the_others(problems):
    found = problems(CONTOSO + company("Fabrikam", 7, ["hq:A", 5], "alongside = [true, 7]\n"))
    assert [problem.partition("7) ")[2] or problem.partition("6) ")[2] for problem in found] == [
        "tenants, entry 2: This must be text in quotes, not a whole number.",
        "alongside, entry 1: An id is a whole number or text, not true or false.",
        "alongside: This client's own agreement is among them; name only others.",
        (
            'tenants: "hq:A" is billed to [[company]] "Contoso" (row 1, line 1) already; set '
            "billing = false for one of them."
        ),
    ]


def test_names_are_cut_so_that_a_message_stays_readable(problems):
    (found,) = problems(CONTOSO.replace("Contoso", "x" * 500).replace("1042", "0"))
    assert len(found) < 250
    assert "…" in found


@pytest.mark.slow
def test_fifty_thousand_clients_load(load):
    clients = (company(f"Client {n}", n, [f"hq:VSRV{n:05}"]) for n in range(1, 50_001))
    mapping = load(KES + KES_1 + "".join(clients))
    assert len(mapping.companies) == 50_000
    assert mapping.companies[-1].tenants == (TenantRef("hq", "VSRV50000"),)


def test_a_mapping_without_sources_says_that_there_are_none(tmp_path):
    (tmp_path / "mapping.toml").write_text(CONTOSO)
    with pytest.raises(ConfigError, match=r"no \[sources.hq\] in kisi.toml; there are none."):
        load_mapping(tmp_path / "mapping.toml", ConfigNames([], ["cw"]))


KEYS = st.sampled_from(["application", "product", "company", "name", "tenants", "keys", "all", "psa",
                        "agreement", "billing", "bill", "unit", "windows_servers", "x"])  # fmt: skip
VALUES = st.recursive(
    st.sampled_from(["KES", "cw", "hq:A", "", "user", 1, 0, 2.5, True, False]) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=20,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_whatever_a_file_holds_it_is_a_mapping_or_a_list_of_problems(load, data):
    try:
        found = load(tomli_w.dumps(data))
    except ConfigError as error:
        found = error.problems
    if isinstance(found, tuple):
        assert found
        assert all(problem.startswith("mapping.toml: ") for problem in found)
    else:
        assert isinstance(found, BillingMapping)


# --- alongside ------------------------------------------------------------------------------------


def test_alongside_names_other_agreements_by_number_or_text(load):
    mapping = load(CONTOSO + 'alongside = [1050, "C-7"]\n')
    assert mapping.companies[0].alongside == ("1050", "C-7")
    assert load(CONTOSO).companies[0].alongside == ()


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ("1050", ": This must be a list in [brackets]"),
        ("[]", ": This list is empty."),
        ("[true]", ", entry 1: An id is a whole number or text, not"),
        ("[1050.5]", ", entry 1: An id is a whole number or text, not"),
        ('[""]', ", entry 1: An id must not be empty"),
        ("[0]", ", entry 1: An id is a number from 1"),
        ("[1042]", ": This client's own agreement is among them"),
        ('[1050, "1050"]', ": Agreement 1050 is named twice."),
    ],
)
def test_what_alongside_must_not_say(problems, written, sentence):
    (problem,) = problems(f"{CONTOSO}alongside = {written}\n")
    assert problem.startswith('[[company]] "Contoso" (row 1, line 1) alongside' + sentence)


def test_a_misspelt_alongside_is_told_its_name(problems):
    (problem,) = problems(CONTOSO + "along_side = [1050]\n")
    assert 'did you mean "alongside"' in problem


COUNT = '[[company.product]]\napplication = "KES"\ncount = "{}"\n'


def test_a_row_says_which_number_is_billed_and_an_exception_may_say_that_alone(load):
    found = load(KES + KES_1 + 'count = "peak"\n' + CONTOSO + COUNT.format("day:31"))
    (company,) = found.companies
    assert found.products[0].count == "peak"
    assert company.exceptions == (ProductRow("KES", "cw", {}, count="day:31"),)
    row = rows_of(found, company)["KES"]
    assert (row.products, row.count) == ({Category.ALL: "1"}, "day:31")


def test_an_exception_with_a_product_has_the_general_policy(load):
    exception = '[[company.product]]\napplication = "KES"\nall = 7\n'
    found = load(KES + KES_1 + 'count = "peak"\n' + CONTOSO + exception)
    row = rows_of(found, found.companies[0])["KES"]
    assert (row.products, row.count) == ({Category.ALL: "7"}, "peak")


@pytest.mark.parametrize("written", ['""', '"mean"', '"day:0"', '"day:32"', '"day"', "25", "true"])
def test_what_is_no_policy(problems, written):
    text = KES + KES_1 + f"count = {written}\n"
    assert len(problems(text)) == 1
    assert problems(text)[0].startswith('[[product]] "KES" (row 1, line 3) count: ')


def test_a_policy_alone_needs_a_general_product(problems):
    (found,) = problems(KES + CONTOSO + COUNT.format("peak"))
    assert found == (
        '[[company]] "Contoso" (row 1, line 3): Its exception for "KES" names only `count`, and no '
        "[[product]] bills that application; write its product there, all = ID for instance."
    )
    assert (
        "It names no product"
        in problems(KES + '[[product]]\napplication = "KES"\ncount = "peak"')[0]
    )


def test_a_clash_is_found_behind_an_exception_that_says_only_its_policy(problems):
    mail = MAIL + '[[product]]\napplication = "Mail"\nall = 2\n'
    clash = '[[company.product]]\napplication = "Mail"\nall = 1\n'
    (found,) = problems(KES + KES_1 + mail + CONTOSO + COUNT.format("peak") + clash)
    assert "would both be billed as product 1" in found
