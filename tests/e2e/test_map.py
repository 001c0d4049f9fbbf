"""From an empty mapping.toml to clients that are billed, and every refusal on the way."""

from __future__ import annotations

import csv
import errno
import json
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest

from kisi.cli import run
from kisi.mapping.validator import SystemValidator
from kisi.sandbox.demo import fleet
from kisi.sandbox.tigerpaw import Tigerpaw
from kisi.sandbox.world import APPLICATION
from tests.conftest import posix_modes
from tests.e2e.conftest import Operator, Result

EXAMPLE = Path(__file__).parents[2] / "examples" / "large-fleet" / "mapping.toml"


@pytest.fixture
def two(operator: Operator) -> Operator:
    """Contoso and Fabrikam on both sides and one product, nothing of it mapped."""
    operator.world.product("KES-ADV", 4.0)
    operator.client("Contoso", mapped=False, workstations=3)
    operator.client("Fabrikam", mapped=False, workstations=2)
    operator.mapped = False
    operator.by_hand()
    return operator


@pytest.fixture
def mapped(operator: Operator) -> Operator:
    """Contoso, mapped and billed; Fabrikam on both sides, not mapped; a second PSA."""
    operator.bill_as_one()
    operator.client("Contoso", workstations=3)
    operator.client("Fabrikam", mapped=False, workstations=2)
    tigerpaw = Tigerpaw(operator.world.now)
    tigerpaw.item("KES", 4.0)
    operator.sandbox.add(tigerpaw.part(tigerpaw.serve()))
    operator.by_hand()
    return operator


def mapping(operator: Operator) -> Path:
    return operator.folder / "mapping.toml"


def text(operator: Operator) -> str:
    return mapping(operator).read_text(encoding="utf-8")


def tenant(operator: Operator, number: int) -> str:
    return f"hq:{operator.world.servers[number].uid}"


def fabrikam(operator: Operator, **other: str) -> list[str]:
    """The options that add Fabrikam, some of them otherwise."""
    values = {"tenant": tenant(operator, 1), "company": "251", "agreement": "1043"}
    values |= {"psa": "cw"} if len(operator.sandbox.parts) > 2 else {}
    pairs = [[f"--{name}", value] for name, value in {**values, **other}.items()]
    return ["map", "company", *(word for pair in pairs for word in pair)]


# --- a fleet


def test_a_fleet_of_400_is_mapped_in_three_commands(operator: Operator):
    vars(operator.world).update(vars(fleet(400).world))  # the servers hold on to their world
    operator.mapped = False
    operator.by_hand()
    table = operator.folder / "suggestions.csv"

    suggested = operator.run("map", "suggest", "--format", "csv", "--output", str(table))
    accepted = operator.run("map", "accept", str(table))
    preview = operator.run("preview", "--json")

    assert [suggested.code, accepted.code, preview.code] == [0, 0, 0]
    companies = preview.document["companies"]
    assert len(companies) >= 0.85 * 400
    assert {company["status"] for company in companies} == {"off"}
    assert f"{len(companies)} are not billed yet" in accepted.err
    assert accepted.err.count("Added ") == 19
    assert "more (-v shows them all)" in accepted.err

    assert operator.run("map", "billing", "*", "on", "--yes", "-q").code == 0
    rows = EXAMPLE.read_text(encoding="utf-8")
    assert text(operator) == rows[rows.index("[[application]]") :]


# --- suggest and accept


@pytest.mark.parametrize("form", ["csv", "json"])
def test_what_a_person_says_no_to_is_not_mapped(two: Operator, form: str):
    file = two.folder / f"suggestions.{form}"
    assert two.run("map", "suggest", "--format", form, "--output", str(file)).code == 0
    content = file.read_text(encoding="utf-8")
    file.write_text(
        content.replace("yes,company,Contoso", "no,company,Contoso").replace(
            '"accept": true,\n      "tenant": "' + tenant(two, 0),
            '"accept": false,\n      "tenant": "' + tenant(two, 0),
        ),
        encoding="utf-8",
    )
    assert two.run("map", "accept", str(file)).code == 0
    assert text(two) == (
        f'[[application]]\nname = "{APPLICATION}"\n\n'
        f'[[product]]\napplication = "{APPLICATION}"\nall = 1201\n\n'
        f'[[company]]\nname = "Fabrikam"\ntenants = ["{tenant(two, 1)}"]\n'
        "company = 251\nagreement = 1043\nbilling = false\n"
    )


def test_suggestions_are_shown_with_reasons_and_nothing_is_written(two: Operator):
    before = two.files()
    shown = two.run("map", "suggest", "--min-score", "0.5")
    assert shown.code == 0
    assert "+ 1.00  Contoso → Contoso" in shown.out
    assert "the same name; agreement 1042" in shown.out
    assert "product 1201" in shown.out
    assert two.files() == before
    assert two.run("map", "suggest", "--min-score", "2").code == 2
    assert two.run("map", "suggest", "--format", "html").code == 2


def test_a_row_that_cannot_be_accepted_stops_them_all(two: Operator):
    file = two.folder / "s.csv"
    two.run("map", "suggest", "--format", "csv", "--output", str(file))
    file.write_text(file.read_text(encoding="utf-8").replace("1043", "9999"), encoding="utf-8")
    refused(two, "map", "accept", str(file), words="9999", code=3)
    refused(two, "map", "accept", str(two.folder), words="cannot be read", code=3)
    file.write_bytes(b"accept\xff")
    refused(two, "map", "accept", str(file), words="not UTF-8", code=3)


# --- single rows


def test_a_client_an_application_and_its_products_are_mapped_without_a_terminal(two: Operator):
    assert two.run("map", "application", "KES", "--key", f"{APPLICATION}*").code == 0
    assert two.run("map", "product", "kes", "--all", "1201").code == 0
    added = two.run(*fabrikam(two))
    assert added.code == 0
    assert added.err == 'Added "Fabrikam" (cw:1043): 1 tenant, billing off.\n'
    assert two.run("map", "billing", "fabrikam", "on").code == 0
    again = two.run("map", "billing", "Fabrikam", "on")
    assert "already says this" in again.err
    lines = two.preview().company("Fabrikam")["lines"]
    assert [(line["product"], line["after"]) for line in lines] == [("1201", 2)]
    assert text(two) == (
        f'[[application]]\nname = "KES"\nkeys = ["{APPLICATION}*"]\n\n'
        '[[product]]\napplication = "KES"\nall = 1201\n\n'
        f'[[company]]\nname = "Fabrikam"\ntenants = ["{tenant(two, 1)}"]\n'
        "company = 251\nagreement = 1043\nbilling = true\n"
    )


def test_a_client_is_changed_and_removed(mapped: Operator):
    before = text(mapped)
    more = ["--tenant", tenant(mapped, 1), "--name", "Contoso Group", "--billing", "off"]
    assert mapped.run("map", "company", "Contoso", *more).code == 0
    assert f', "{tenant(mapped, 1)}"]' in text(mapped)
    back = ["--remove-tenant", tenant(mapped, 1), "--name", "Contoso", "--billing", "on"]
    assert mapped.run("map", "company", "cw:1042", *back).code == 0
    assert text(mapped) == before.rstrip("\n") + "\nbilling = true\n"
    unknown = ["map", "company", "Contoso", "--remove-tenant", "hq:none"]
    refused(mapped, *unknown, words="no tenant of this client", code=3)
    assert mapped.run("map", "remove", "Contoso").code == 0
    assert "Contoso" not in text(mapped)
    assert "Contoso" in mapping(mapped).with_name("mapping.toml.bak").read_text(encoding="utf-8")


def test_an_exception_is_made_and_taken_back(mapped: Operator):
    before = text(mapped)
    product = str(mapped.world.product("FLAT").id)
    special = ["map", "product", APPLICATION, "--client", "Contoso"]
    assert mapped.run(*special, "--all", product).code == 0
    assert f'[[company.product]]\napplication = "{APPLICATION}"\nall = {product}\n' in text(mapped)
    assert mapped.run(*special, "--leave").code == 0
    assert "bill = false" in text(mapped)
    assert mapped.run("map", "remove", "Contoso", "--application", APPLICATION).code == 0
    assert text(mapped).rstrip("\n") == before.rstrip("\n")
    assert mapped.run("map", "remove", "--product", APPLICATION, "--psa", "cw").code == 0
    assert mapped.run("map", "remove", "--application", APPLICATION).code == 0
    assert "[[product]]" not in text(mapped)
    assert "[[application]]" not in text(mapped)


def test_key_names_are_added_to_an_application(mapped: Operator):
    more = ["--add-key", "KES*", "--no-bill", "--unit", "user"]
    assert mapped.run("map", "application", APPLICATION, *more).code == 0
    assert f'keys = ["{APPLICATION}*", "KES*"]\nunit = "user"\nbill = false\n' in text(mapped)


def test_several_clients_are_switched_only_if_somebody_says_so(mapped: Operator):
    mapped.run(*fabrikam(mapped))
    refused(mapped, "map", "billing", "*", "off", words='"*" names 1 clients', code=6)
    assert mapped.run("map", "billing", "*", "off", "--yes").code == 0
    assert text(mapped).count("billing = false") == 2
    refused(mapped, "map", "billing", "nobody", "on", words="has no client", code=3)


@pytest.mark.parametrize(
    "arguments",
    [
        ["company", "--tenant", "hq:x"],
        ["company", "--tenant", "hq:x", "--company", "1", "--agreement", "2", "--offline"],
        ["product", "KES"],
        ["product", "KES", "--leave"],
        ["product", "KES", "--client", "C", "--leave", "--all", "1"],
        ["product", "KES", "--client", "C", "--all", "1", "--psa", "cw"],
        ["remove"],
        ["remove", "C", "--product", "KES"],
        ["list", "--stale", "--unmapped"],
        ["billing", "C", "maybe"],
    ],
)
def test_options_that_contradict_each_other_are_a_usage_error(two: Operator, arguments: list[str]):
    before = two.files()
    result = two.run("map", *arguments)
    assert result.code == 2
    assert not result.requests
    assert two.files() == before


def test_an_option_before_the_subcommand_is_not_ignored(two: Operator):
    result = two.run_bare("map", "--config", str(two.config), "list")
    assert result.code == 2
    assert "Put it after the subcommand: kisi map list --config" in result.err


class _Terminal(StringIO):
    """Something that looks like a terminal."""

    def isatty(self) -> bool:
        return True


def test_on_a_terminal_a_person_is_asked_before_several_clients_are_switched(
    mapped: Operator, monkeypatch: pytest.MonkeyPatch
):
    questions = []

    def confirm(question: str, *, err: bool) -> bool:
        questions.append((question, err))
        return True

    monkeypatch.setattr(sys, "stdin", _Terminal())
    monkeypatch.setattr("typer.confirm", confirm)
    mapped.run(*fabrikam(mapped, name="Contoso 2"))
    for stream, switch, code in ((_Terminal(), "off", 0), (StringIO(), "on", 6)):
        arguments = ["map", "billing", "Con*", switch, "--config", str(mapped.config)]
        with redirect_stdout(StringIO()), redirect_stderr(stream):
            assert run(arguments) == code
    assert questions == [
        (
            '"Con*" names 1 clients: "Contoso" (cw:1042). Switch the billing of all of them off?',
            True,
        )
    ]


def test_a_session_reads_the_terminal_until_the_input_ends(
    mapped: Operator, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sys, "stdin", _Terminal("1\n\nn\n"))
    with redirect_stdout(_Terminal()) as stdout:
        assert run(["map", "--config", str(mapped.config), "--no-color"]) == 0
    assert "Saved. Added" in stdout.getvalue()
    assert "1 answer is in" in stdout.getvalue()
    assert text(mapped).endswith('psa = "cw"\ncompany = 251\nagreement = 1043\nbilling = false\n')


# --- refusals


def refused(operator: Operator, *arguments: str, words: str, code: int) -> Result:
    """A command that says why, what to do, and leaves every file as it was."""
    before = operator.files()
    result = operator.run(*arguments)
    assert result.code == code, result.err
    assert words in result.err
    assert "\nTo do: " in result.err
    assert not result.writes
    assert operator.files() == before
    return result


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"tenant": "hq:VSRV-none"}, 'sources.hq has no tenant "VSRV-none"'),
        ({"company": "299"}, "psa.cw has no company 299"),
        ({"agreement": "9999"}, "Agreement 9999 does not exist in ConnectWise"),
        ({"company": "250", "agreement": "1043"}, "belongs to company 251"),
        ({"psa": "tp"}, "psa.tp has no account 251"),
    ],
)
def test_an_id_that_is_gone_or_anothers_is_refused(
    mapped: Operator, other: dict[str, str], words: str
):
    refused(mapped, *fabrikam(mapped, **other), words=words, code=3)


def test_an_agreement_that_is_not_active_is_refused(mapped: Operator):
    mapped.world.agreements[1043].cancelled = True
    refused(mapped, *fabrikam(mapped), words="is cancelled in ConnectWise", code=3)


def test_a_tenant_that_is_mapped_already_is_refused(mapped: Operator):
    arguments = fabrikam(mapped, tenant=tenant(mapped, 0))
    refused(mapped, *arguments, words='is mapped already, to "Contoso" (cw:1042)', code=3)


@pytest.mark.parametrize(
    ("product", "psa", "words"),
    [
        ("KES", "cw", "Product KES is one of psa.tp, not of psa.cw"),
        ("9999", "cw", "psa.cw has no product 9999"),
        ("1201", "xx", "There is no [psa.xx]"),
    ],
)
def test_a_product_of_the_wrong_psa_is_refused(
    mapped: Operator, product: str, psa: str, words: str
):
    arguments = ["map", "product", APPLICATION, "--all", product, "--psa", psa]
    refused(mapped, *arguments, words=words, code=3)


def test_a_file_that_somebody_changed_meanwhile_is_refused(
    mapped: Operator, monkeypatch: pytest.MonkeyPatch
):
    validate = SystemValidator.refuse

    def changed_meanwhile(validator: SystemValidator, change: object) -> None:
        validate(validator, change)
        mapping(mapped).write_text(text(mapped) + "# theirs\n", encoding="utf-8")

    monkeypatch.setattr(SystemValidator, "refuse", changed_meanwhile)
    theirs = text(mapped) + "# theirs\n"
    result = mapped.run(*fabrikam(mapped))
    assert result.code == 3
    assert "changed since kisi read it: someone else works on it" in result.err
    assert "To do: " in result.err
    assert text(mapped) == theirs
    assert not mapping(mapped).with_name("mapping.toml.bak").exists()


def test_a_full_disk_is_refused(mapped: Operator, monkeypatch: pytest.MonkeyPatch):
    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    refused(mapped, *fabrikam(mapped), words="No space left on device", code=8)


@posix_modes
def test_a_read_only_file_is_refused(mapped: Operator):
    mapping(mapped).chmod(0o444)
    refused(mapped, *fabrikam(mapped), words="read-only", code=8)


def test_a_change_that_would_make_the_file_wrong_is_refused(mapped: Operator):
    mapped.run("map", "application", "EDR")
    product = str(min(mapped.world.catalog))
    arguments = ["map", "product", "EDR", "--all", product, "--psa", "cw"]
    refused(mapped, *arguments, words="would both be billed as product", code=3)


def test_a_psa_that_does_not_answer_is_refused_unless_offline(mapped: Operator):
    mapped.sandbox.faults.add("status", match="GET */company/companies", times=None, code=401)
    refused(mapped, *fabrikam(mapped), words="401", code=5)
    offline = mapped.run(*fabrikam(mapped, name="Fabrikam"), "--offline")
    assert offline.code == 0
    assert "not validated (--offline)" in offline.err
    assert offline.requests == ()


# --- lists


def test_what_is_unmapped_is_listed_on_both_sides(mapped: Operator):
    listed = mapped.run("map", "list", "--unmapped")
    assert listed.code == 0
    assert "Unmapped tenants   1 in all" in listed.out
    assert "Companies without Kaspersky   1 in all" in listed.out
    assert "Contoso" not in listed.out
    document = json.loads(mapped.run("map", "list", "--unmapped", "--json").out)
    assert document["unmapped"]["accounts"] == [{"psa": "cw", "company": "251", "name": "Fabrikam"}]
    rows = list(csv.reader(StringIO(mapped.run("map", "list", "--format", "csv").out)))
    assert {row[0] for row in rows[1:]} == {"tenant", "key name", "company", "agreement", "product"}


def test_where_nothing_is_unmapped_that_is_said(operator: Operator):
    operator.bill_as_one()
    operator.client("Contoso", workstations=3)
    listed = operator.run("map", "list", "--unmapped")
    assert (listed.code, listed.out.strip()) == (0, "")
    assert listed.err == "Nothing is unmapped.\n"


def test_what_time_has_overtaken_is_listed(mapped: Operator):
    assert "there and active" in mapped.run("map", "list", "--stale").err
    mapped.world.agreements[1042].end_date = mapped.world.today + timedelta(days=30)
    listed = mapped.run("map", "list", "--stale")
    assert "agreement 1042: 'Managed Security' ends on 2026-11-13." in listed.out
    document = json.loads(mapped.run("map", "list", "--stale", "--json").out)
    (entry,) = document["stale"]
    assert (entry["fate"], entry["ends"], entry["client"]) == ("ending", "2026-11-13", "Contoso")
    table = mapped.run("map", "list", "--stale", "--format", "csv").out
    assert table.splitlines()[1].startswith("Contoso,agreement,1042,ending,2026-11-13,")


def test_a_source_that_cannot_be_read_is_said_and_the_rest_is_listed(mapped: Operator):
    intact = mapped.sandbox.cw.private_key
    mapped.sandbox.ksc.account.password = "changed"
    for arguments in (["list"], ["suggest"], ["list", "--stale"], []):
        result = mapped.run("map", *arguments)
        assert result.code == 4
        assert "hq" in result.err
    mapped.sandbox.cw.private_key = "changed meanwhile"
    assert "Nothing is unmapped" not in mapped.run("map").err, "nothing could be read"
    mapped.sandbox.cw.private_key = intact
    listed = mapped.run("map", "list").out
    assert "Tenants" not in listed
    assert "Companies" in listed


def test_without_a_terminal_the_next_commands_are_said_and_nothing_is_waited_for(two: Operator):
    before = two.files()
    result = two.run("map")
    assert result.code == 0
    assert "Companies without Kaspersky   2 in all" in result.out
    assert "kisi map suggest --format csv --output suggestions.csv" in result.err
    assert two.files() == before


# --- the whole as a table; renewals


def test_the_mapping_goes_out_as_a_table_and_comes_back(mapped: Operator):
    before = text(mapped)
    file = mapped.folder / "mapping.csv"
    assert mapped.run("map", "export", "--output", str(file)).code == 0
    assert "already says this" in mapped.run("map", "import", str(file)).err
    assert text(mapped) == before
    file.write_bytes(file.read_bytes().replace(b"1042,true", b"1042,false"))
    assert mapped.run("map", "import", str(file)).code == 0
    assert text(mapped) == before.rstrip("\n") + "\nbilling = false\n"
    mapping(mapped).unlink()
    assert mapped.run("map", "import", str(file)).code == 0
    assert mapped.run("map", "export").out == file.read_bytes().decode("utf-8-sig")


def test_an_ended_agreement_is_followed_by_its_successor_after_showing_it(mapped: Operator):
    old = mapped.world.agreements[1042]
    company = mapped.world.companies[250]
    assert "No client's agreement has ended" in mapped.run("map", "renew").err
    old.end_date = mapped.world.today - timedelta(days=1)
    alone = mapped.run("map", "renew")
    assert alone.code == 6
    assert "no other agreement of the company runs today" in alone.out

    new = mapped.world.agreement(company)
    before = text(mapped)
    shown = refused(mapped, "map", "renew", words="1 client could be moved", code=6)
    assert f"Contoso: 1042 → {new.id}" in shown.out
    done = mapped.run("map", "renew", "--yes")
    assert done.code == 0
    assert text(mapped) == before.replace("agreement = 1042", f"agreement = {new.id}")
    assert f'Changed "Contoso" (cw:1042): agreement {new.id}.' in done.err


def test_where_two_agreements_could_follow_a_person_must_choose(mapped: Operator):
    mapped.world.agreements[1042].cancelled = True
    for _ in range(2):
        mapped.world.agreement(mapped.world.companies[250])
    before = mapped.files()
    result = mapped.run("map", "renew", "--yes")
    assert result.code == 6
    assert "several agreements could take its place" in result.out
    assert "kisi map company cw:1042 --agreement ID" in result.out
    assert mapped.files() == before
