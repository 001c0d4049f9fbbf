"""A person at `kisi map`: typed lines in, the file and what is said out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from kisi.cli.map.questions import Session, converse, number_of
from kisi.cli.output import Console
from kisi.errors import ConfigError, PsaError, StateError
from kisi.model import Line
from tests.unit.build import TODAY
from tests.unit.mapping.sides import KES, Psa, Sides

CONTOSO = """\
[[company]]
name = "Contoso Ltd"
tenants = ["hq:V1"]
company = 250
agreement = 1042
"""
FABRIKAM = """\
[[company]]
name = "Fabrikam"
tenants = ["hq:V2"]
company = 251
agreement = 1043
"""
APPLICATION = f'[[application]]\nname = "{KES}"\n'
BILLED = APPLICATION + f'\n[[product]]\napplication = "{KES}"\nall = 1200\n'


class Person:
    """Types lines, one for each question."""

    def __init__(self, sides: Sides, capsys) -> None:
        self.sides = sides
        self.questions: list[str] = []
        self._capsys = capsys
        self.heard = ""

    def types(self, *lines: str, text: str = BILLED, **more) -> int:
        """Runs the conversation on a file; after the last line the input ends."""
        typed: Iterator[str] = iter(lines)

        def answer(question: str) -> str:
            self.questions.append(question)
            line = next(typed, None)
            if line is None:
                raise EOFError
            if line == "^C":
                raise KeyboardInterrupt
            if callable(line):
                return line()
            return line

        editor = self.sides.editor(text)
        session = Session(
            editor,
            self.sides.inventory(editor.mapping),
            self.sides.validator(),
            self.sides.psas,
            TODAY,
            Console(color=False),
            answer,
            **more,
        )
        try:
            return converse(session)
        finally:
            self.heard += self._capsys.readouterr().out
            assert next(typed, None) is None, f"not asked for: {self.questions}"

    @property
    def file(self) -> str:
        return self.sides.path.read_text(encoding="utf-8")


@pytest.fixture
def sides(tmp_path):
    sides = Sides(tmp_path / "mapping.toml")
    sides.hq.add("V1", "Contoso")
    sides.hq.add("V2", "Fabrikam GmbH")
    sides.cw.client("250", "Contoso Ltd", "1042")
    sides.cw.client("251", "Fabrikam", "1043")
    sides.cw.product("1200", "KES-ADV")
    return sides


@pytest.fixture
def person(sides, capsys):
    return Person(sides, capsys)


# --- clients


def test_enter_alone_takes_the_sure_company_its_one_agreement_and_billing_on(person):
    assert person.types("1", "", "", "", "n") == 0
    assert person.file == f"{BILLED}\n{CONTOSO}\n{FABRIKAM}billing = false\n"
    assert "2 answers are in" in person.heard


def test_the_answer_about_billing_is_the_next_ones_default(person):
    person.types("", "", "n", "", "")
    assert person.file.count("billing = false") == 2


def test_the_screen_tells_what_is_used_the_reasons_and_what_the_agreement_bills(person, sides):
    lines = [Line(str(n), "1042", "1200", Decimal(n), starts=date(2026, 1, 1)) for n in range(2, 8)]
    cancelled = replace(lines[0], id="9", quantity=Decimal(777), cancelled=date(2026, 1, 2))
    sides.cw.bills["1042"] = [*lines, cancelled]
    person.types("1", "", "q")
    for words in (
        "Contoso   1 of 2 · hq:V1",
        f"5 x {KES}",
        "0.99",
        "the same name but for spelling and legal form",
        "1042 Managed Security (Managed Services), since 2025-11-21, no end",
        "bills 2 x KES-ADV, 3 x KES-ADV, 4 x KES-ADV, 5 x KES-ADV and 2 more",
    ):
        assert words in person.heard
    assert "777" not in person.heard


def test_quitting_keeps_what_was_confirmed(person):
    assert person.types("1", "", "", "q") == 0
    assert person.file == f"{BILLED}\n{CONTOSO}"
    assert "1 answer is in" in person.heard


def test_an_interrupted_conversation_keeps_it_too_and_says_so_by_its_exit_code(person):
    assert person.types("1", "", "", "^C") == 130
    assert person.file == f"{BILLED}\n{CONTOSO}"


def test_the_end_of_input_is_a_quit(person):
    assert person.types() == 0
    assert person.file == BILLED


def test_a_skipped_tenant_stays_unmapped_and_is_not_asked_for_again(person):
    person.types("1", "s", "", "")
    assert person.file == f"{BILLED}\n{FABRIKAM}"


def test_back_takes_back_the_tenant_before_byte_for_byte(person):
    person.types("1", "", "", "b", "s", "q")
    assert person.file == BILLED
    assert "Taken back: Contoso." in person.heard
    assert "0 answers are in" in person.heard


def test_back_at_the_first_tenant_asks_it_again(person):
    person.types("1", "b", "q")
    assert person.heard.count("Contoso   1 of 2") == 2


def test_back_at_billing_asks_for_the_company_again(person):
    person.types("1", "", "b", "q")
    assert person.heard.count("Contoso   1 of 2") == 2
    assert person.file == BILLED


def test_any_part_of_a_name_finds_a_company(person):
    person.types("1", "zzz", "RIKA", "1", "y", "q")
    assert 'name = "Fabrikam"\ntenants = ["hq:V1"]' in person.file
    assert "No active company has that in its name" in person.heard
    assert "cw:251" in person.heard


def test_of_two_likely_companies_the_one_without_a_client_comes_first(person, sides):
    sides.cw.client("252", "Nakamura Construction", "1052")
    sides.cw.client("253", "Nakamura Consulting", "1053")
    sides.hq.names["V2"] = "Nakamura Cons."
    mapped = CONTOSO.replace("250", "252").replace("1042", "1052")
    person.types("1", "q", text=f"{BILLED}\n{mapped}")
    assert re.search(r"1 +0\.\d\d +Nakamura Consulting", person.heard)
    assert re.search(r"2 +0\.\d\d +Nakamura Construction \(mapped:", person.heard)
    assert "Fabrikam" not in person.heard


def test_a_slash_searches_for_what_would_be_a_command_and_an_id_is_found(person):
    person.types("1", "/b", "251", "1", "y", "q")
    assert 'name = "Fabrikam"\ntenants = ["hq:V1"]' in person.file


def test_a_question_mark_tells_what_can_be_typed_and_searches_for_nothing(person):
    person.types("1", "?", "q")
    assert "any part of it searches" in person.heard
    assert "No active company" not in person.heard


def test_a_long_list_of_finds_is_cut_and_says_so(person, sides):
    for number in range(300, 320):
        sides.cw.client(str(number), f"Trader {number}", f"9{number}")
    person.types("1", "trader", "13", "q")
    assert "and 8 more: type more of the name" in person.heard
    assert person.file == BILLED


def test_an_agreement_is_chosen_among_several(person, sides):
    sides.cw.agreement("1077", "250", "Backup", ends=date(2027, 1, 31))
    sides.cw.agreement("1078", "250", "Ended", ends=date(2026, 1, 31))
    person.types("1", "", "", "3", "2", "b", "1", "y", "q")
    assert "1077 Backup (Managed Services), 2025-11-21 to 2027-01-31" in person.heard
    assert "Ended" not in person.heard
    assert person.file == f"{BILLED}\n{CONTOSO}"


def test_a_company_without_a_running_agreement_is_told_of(person, sides):
    sides.cw.contracts.pop(0)
    person.types("1", "", "q")
    assert "Contoso Ltd has no agreement that runs today" in person.heard


def test_a_tenant_joins_the_client_of_a_mapped_agreement_only_if_confirmed(person, sides):
    sides.hq.add("V3", "Contoso - HQ")
    person.types("1", "s", "", "n", "", "y", text=f"{BILLED}\n{CONTOSO}")
    assert 'tenants = ["hq:V1", "hq:V3"]' in person.file
    assert "Contoso Ltd (mapped)" in person.heard
    assert "mapped to Contoso Ltd: the tenant joins it" in person.heard


def test_an_agreement_that_became_unfit_meanwhile_is_refused_and_asked_again(person, sides):
    def cancelled():
        sides.cw.contracts[0] = replace(sides.cw.contracts[0], active=False)
        return "y"

    person.types("1", "", cancelled, "q")
    assert 'Error: "Contoso Ltd" (cw:1042): Agreement 1042 is not active. Renew it.' in person.heard
    assert person.file == BILLED


def test_lines_that_cannot_be_read_do_not_stop_anybody(person, sides):
    def away():
        sides.cw.broken = PsaError("psa.cw does not answer.")
        return ""

    person.types("1", away, "y", "q")
    assert "what it bills could not be read: psa.cw does not answer." in person.heard
    assert "Error: psa.cw does not answer." in person.heard
    assert person.file == BILLED


def test_a_file_that_somebody_else_changed_ends_the_conversation(person, sides):
    def changed():
        sides.path.write_text("# theirs\n")
        return "y"

    with pytest.raises(ConfigError, match="changed since kisi read it"):
        person.types("1", "", changed)
    assert person.file == "# theirs\n"


def test_a_full_disk_ends_the_conversation_and_keeps_the_file(person, monkeypatch):
    def full(_handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StateError, match="No space left"):
        person.types("1", "", "y")
    assert person.file == BILLED


def test_names_that_would_act_on_the_terminal_are_shown_escaped(person, sides):
    sides.hq.add("V1", "\x1b[31mContoso\u202e")
    sides.cw.companies[0] = replace(sides.cw.companies[0], name="Contoso\r\x07")
    person.types("1", "", "", "q")
    assert "\x1b" not in person.heard
    assert "\\x1b[31mContoso\\u202e" in person.heard
    assert "Contoso\\x0d\\x07" in person.heard
    assert 'name = "Contoso\\r\\u0007"' in person.file


# --- applications


def test_an_application_is_billed_as_one_product(person):
    person.types("2", "1", "", "", text="# mine\n")
    assert person.file == f"# mine\n\n{BILLED}"
    assert "counted per device" in person.heard


def test_an_application_is_billed_by_category_and_a_category_may_be_left_out(person, sides):
    for ident, name in (("1", "KES-ADV-WS"), ("2", "KES-ADV-SRV")):
        sides.cw.product(ident, name)
    person.types("2", "2", "", "", "s", text="")
    assert person.file == APPLICATION + (
        f'\n[[product]]\napplication = "{KES}"\nwindows_workstations = 1\nwindows_servers = 2\n'
    )
    assert "Its non-windows devices: not billed." in person.heard


def test_an_application_is_never_billed(person):
    person.types("2", "3", text="")
    assert person.file == APPLICATION + "bill = false\n"


def test_users_and_mailboxes_have_one_product_and_no_categories(person):
    person.types("2", "u", "1", "", text="")
    assert 'unit = "user"' in person.file
    second = person.heard[person.heard.index("counted per user") :]
    assert "by category" not in second


@pytest.mark.parametrize(("choice", "unit"), [("1", '\nunit = "user"'), ("2", "")])
def test_per_user_or_per_device_is_asked_where_the_name_does_not_tell(person, sides, choice, unit):
    cloud = "Kaspersky Endpoint Security Cloud Plus"
    sides.hq.add("V3", "X", **{cloud: 3})
    sides.cw.product("1300", cloud)
    person.types("2", "", choice, "", "s", text=BILLED)
    assert "per user or per device? look at the licence" in person.heard
    assert "Please type a number from 1 to" in person.heard, "Enter alone decides nothing"
    assert f'name = "{cloud}"{unit}\n' in person.file
    assert f'[[product]]\napplication = "{cloud}"\nall = 1300\n' in person.file


def test_key_names_can_be_given_to_an_application_of_the_file(person):
    text = '[[application]]\nname = "Endpoint"\nkeys = ["Other*"]\nbill = false\n'
    person.types("2", "4", "2", "1", text=text)
    assert f'keys = ["Other*", "{KES}*"]' in person.file


def test_an_application_without_a_product_is_asked_for_too(person):
    person.types("1", "1", "", text=f"{APPLICATION}\n{CONTOSO}\n{FABRIKAM}")
    assert f'[[product]]\napplication = "{KES}"\nall = 1200\n' in person.file


def test_a_product_is_found_by_any_part_of_its_name(person, sides):
    sides.cw.product("77", "Managed Antivirus", price=None)
    person.types("2", "1", "nothing", "antiv", "", text="")
    assert "all = 77" in person.file
    assert "No active product has that in its name" in person.heard


def test_a_product_that_bills_something_else_is_refused_with_the_reason(person):
    text = '[[application]]\nname = "EDR"\n[[product]]\napplication = "EDR"\nall = 1200\n'
    person.types("2", "1", "kes", "1", "b", "q", text=text)
    assert "KES-ADV (bills EDR)" in person.heard
    assert "would both be billed as product 1200" in person.heard
    assert person.file == text


def test_no_product_at_all_saves_nothing(person):
    person.types("2", "x", "1", "s", "q", text="")
    assert "No product was chosen, so nothing was saved." in person.heard
    assert "Please type a number from 1 to 3, or u." in person.heard


def test_back_in_a_product_asks_how_it_is_billed_again(person):
    person.types("2", "2", "b", "3", text="")
    assert "bill = false" in person.file


def test_each_psa_that_bills_clients_is_asked_for(person, sides):
    sides.psas["tp"] = Psa("tp")
    sides.psas["tp"].product("KES", "Kaspersky Endpoint")
    person.types("2", "1", "", "kes", "1", text="")
    assert f'application = "{KES}"\npsa = "cw"\nall = 1200' in person.file
    assert f'application = "{KES}"\npsa = "tp"\nall = "KES"' in person.file
    assert "Product for all of it in psa.tp" in person.heard


def test_rows_in_a_form_that_cannot_be_edited_are_told_of(person):
    text = f'application = [{{ name = "{KES}" }}]\ncompany = []\nproduct = []\n'
    person.types("1", "", "y", "q", text=text)
    person.types("2", "1", "", "q", text=text)
    assert person.heard.count("in a way that kisi cannot change without touching") == 2
    assert person.file == text


# --- the whole


def test_where_nothing_is_open_nothing_is_asked(person):
    assert person.types(text=f"{BILLED}\n{CONTOSO}\n{FABRIKAM}") == 0
    assert person.questions == []


def test_after_the_clients_the_applications_are_next(person):
    person.types("", "", "", "", "", "s", "", "1", "", text="")
    assert "[[product]]" in person.file
    assert person.questions[-3].startswith("Which? q quits [1]")


def test_a_wrong_number_in_the_menu_is_asked_again_and_back_stays_there(person):
    person.types("7", "b", "q")
    assert "Please type a number from 1 to 1." in person.heard
    assert person.heard.count("Not mapped yet") == 2


def test_stale_mappings_are_pointed_out(person):
    person.types("q", text=BILLED + "\n" + CONTOSO.replace("1042", "1099"))
    assert "1 mapping is stale: kisi map list --stale" in person.heard


def test_a_question_of_yes_or_no_takes_nothing_else(person):
    person.types("1", "", "perhaps", "y", "q")
    assert "Please type y or n." in person.heard


@pytest.mark.parametrize(
    ("typed", "place"), [("1", 0), ("3", 2), ("4", None), ("0", None), ("x", None), ("²", None)]
)
def test_a_typed_number_is_a_place(typed, place):
    assert number_of(typed, 3) == place


def test_a_tenant_that_is_never_billed_is_kept_as_that_and_not_asked_for_again(person):
    assert person.types("1", "n", "s") == 0
    assert '[[tenant]]\nid = "hq:V1"\nbill = false\n' in person.file
    assert 'Tenant "hq:V1" is never billed.' in person.heard
    assert "1 answer is in mapping.toml" in person.heard
    assert "1 of 2 belong to no client" in person.heard
