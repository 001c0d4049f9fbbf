"""Reading the PSAs: whose trouble is whose, how often is asked, and prices that only inform."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from types import SimpleNamespace

import pytest

from kisi.errors import ExitCode, Interrupted, PsaError
from kisi.model import Category, NotBillable, Status
from kisi.psa import PsaProduct
from kisi.reconcile.psas import PsaReader, PsaState, known_lines
from kisi.redaction import REDACTOR
from tests.unit.build import ALL_ROW, COMPANY, KES, SPLIT_ROW, TODAY, mapping
from tests.unit.fakes import planned
from tests.unit.reconcile.conftest import company

UNREADABLE = PsaError("The additions did not arrive whole.", remedy="Run it again.")


@pytest.fixture
def two(scene):
    scene.bill(COMPANY, company(2))
    scene.cw.agreement("251", "1043")
    scene.uses(10)
    scene.uses(20, uid="VSRV-2")
    return scene


def test_a_secret_that_a_server_says_to_us_is_not_shown(two):
    REDACTOR.add("private-key-in-a-list")
    said = "Wrong key: private-key-in-a-list."
    two.cw.unreadable["1042"] = (PsaError(said), None)
    two.cw.prices = PsaError(said)
    plan = two.look().plan
    assert [client.failure is None for client in plan.companies] == [False, True]
    shown = plan.companies[0].failure.reason + "".join(plan.notes)
    assert shown.count("Wrong key: ") == 2
    assert "private-key" not in shown


def test_a_psa_that_cannot_be_read_fails_its_clients_and_no_other_psas(two):
    tp = two.add_psa("tp")
    tp.agreement("500", "7001")
    row_tp = replace(ALL_ROW, psa="tp", products={Category.ALL: "KES"})
    theirs = company(2, psa="tp", company="500", agreement="7001")
    two.mapping = mapping(ALL_ROW, row_tp, companies=[COMPANY, theirs])
    two.cw.broken = PsaError("ConnectWise refused the login.", remedy="Check the keys.")
    day = two.sync()
    failure = day.client().failure
    assert (failure.guard, failure.exit_code, failure.remedy) == (
        "psa",
        ExitCode.PSA,
        "Check the keys.",
    )
    assert tp.quantities("7001") == {"KES": 20}
    assert day.code is ExitCode.PSA
    assert two.cw.sent == []


def test_lines_that_cannot_be_read_fail_that_client_alone(two):
    two.cw.unreadable["1042"] = (UNREADABLE, None)
    day = two.sync()
    assert (day.client().failure.guard, day.code) == ("psa", ExitCode.PSA)
    assert two.cw.held("1042") == []
    assert two.cw.quantities("1043") == {"1200": 20}


def test_an_agreement_that_cannot_be_judged_fails_that_client_alone(two):
    judge = two.cw._judge
    two.cw._judge = lambda ref: UNREADABLE if ref.agreement == "1042" else judge(ref)
    day = two.sync()
    assert day.client().failure.reason == UNREADABLE.message
    assert set(two.cw.looks) == {"1043"}


def test_a_bug_in_the_reading_of_one_agreement_fails_its_client_alone(two):
    two.cw.unreadable["1042"] = (KeyError("quantity"), None)
    day = two.sync()
    failure = day.client().failure
    assert (failure.guard, failure.exit_code, day.code) == ("bug", ExitCode.PSA, ExitCode.PSA)
    assert two.cw.held("1042") == []
    assert two.cw.quantities("1043") == {"1200": 20}


def test_lines_that_got_old_while_the_sources_were_read_are_read_again(two, monkeypatch):
    read = two.hq.read

    def slowly(tenants, select):
        two.clock.sleep(400)
        yield from read(tenants, select)

    monkeypatch.setattr(two.hq, "read", slowly)
    assert two.look().read_at == 0  # both sides at once
    two.sync()
    two.uses(11)
    two.cw.looks.clear()
    assert two.sync().code == 0
    assert two.cw.quantities("1042") == {"1200": 11}
    assert two.cw.looks.count("1042") == 3  # in the beginning, before the write, and after it


def test_an_agreement_that_is_not_fit_fails_its_client_and_its_lines_are_not_read(two):
    not_billable = NotBillable(
        "agreement", "it ended on 2026-10-31", "Map the one that follows it."
    )
    two.cw.agreement("250", "1042", not_billable=not_billable)
    day = two.sync()
    failure = day.client().failure
    assert (failure.guard, failure.exit_code) == ("agreement", ExitCode.WITHHELD)
    assert day.client().status is Status.FAILED
    assert set(two.cw.looks) == {"1043"}


def test_a_client_that_was_not_counted_costs_one_read_of_its_lines_and_is_not_written(two):
    del two.hq.answers[COMPANY.tenants[0]]
    two.sync()
    assert two.cw.looks.count("1042") == 1
    assert two.cw.quantities("1042") == {}


def test_all_agreements_are_asked_for_once_and_each_ones_lines_once(two):
    two.look()
    assert sorted(ref.agreement for ref in two.cw.asked_agreements) == ["1042", "1043"]
    assert sorted(two.cw.looks) == ["1042", "1043"]


def test_a_new_line_shows_the_catalogues_price_and_name(two):
    two.cw.prices = {"1200": PsaProduct("1200", "KES Advanced", price=Decimal("4.50"))}
    day = two.sync()
    for client in day.plan.companies:
        assert (client.lines[0].unit_price, client.lines[0].description) == (
            Decimal("4.50"),
            "KES Advanced",
        )
    assert two.cw.asked_products == ["1200"]


def test_a_product_without_a_price_is_shown_without_one(two):
    two.mapping = mapping(SPLIT_ROW)
    two.cw.prices = {"1202": PsaProduct("1202", "KES servers")}
    two.uses(workstations=1, servers=1)
    lines = {line.product: line for line in two.look().plan.companies[0].lines}
    assert (lines["1201"].unit_price, lines["1202"].unit_price) == (None, None)
    assert (lines["1201"].description, lines["1202"].description) == ("", "KES servers")


@pytest.mark.parametrize(
    ("catalogue", "said"),
    [
        ("missing", "does not exist in psa.cw"),
        ("inactive", "is inactive in psa.cw, or of a kind that no agreement can carry"),
    ],
)
def test_a_new_line_that_the_psa_would_refuse_fails_its_client_unsent(two, catalogue, said):
    if catalogue == "missing":
        two.cw.missing.add("1200")
    else:
        two.cw.prices = {"1200": PsaProduct("1200", "Bundle", active=False)}
    day = two.sync()
    failure = day.client().failure
    assert failure.guard == "product"
    assert failure.reason == f"product 1200, which is to bill {KES}, {said}"
    assert (two.sent(), day.code) == (0, 6)


def test_a_product_that_is_gone_changes_nothing_of_a_line_that_is_there(two):
    two.sync()
    two.cw.missing.add("1200")
    two.uses(11)
    assert two.sync().code == 0


def test_missing_prices_are_noted_and_stop_nothing(two):
    two.cw.prices = PsaError("The catalogue did not answer.")
    day = two.sync()
    assert day.plan.notes == ("Prices of cw could not be read: The catalogue did not answer.",)
    assert day.code is ExitCode.OK
    assert two.cw.quantities() == {"1200": 10}


def test_prices_are_not_asked_for_where_nothing_is_new(two):
    two.sync()
    two.cw.asked_products.clear()
    two.uses(11)
    two.sync()
    assert two.cw.asked_products == []


def test_a_first_create_shows_what_else_is_on_the_agreement(two):
    backup = two.cw.put("9001", 3, description="Backup")
    first = two.sync()
    assert first.client().others == (backup,)
    assert two.sync().client().others == ()
    assert {line.product: line.quantity for line in two.cw.held()} == {"9001": 3, "1200": 10}


def test_where_the_run_is_stopped_no_further_agreement_is_read(scene, monkeypatch):
    refs = [scene.cw.agreement(str(250 + n), str(1042 + n)).ref for n in range(50)]
    cancelled, read, end = threading.Event(), [], ThreadPoolExecutor.shutdown

    def lines(ref, products=None):
        read.append(ref)
        assert len(read) == 1 or cancelled.wait(30)
        return ()

    def shutdown(pool, **how):
        end(pool, **{**how, "wait": False})
        cancelled.set()
        end(pool, **how)

    def stop(_psa, done, _total):
        if done:
            raise Interrupted("Stopped.")

    monkeypatch.setattr(scene.cw, "lines", lines)
    monkeypatch.setattr(ThreadPoolExecutor, "shutdown", shutdown)
    with pytest.raises(Interrupted):
        PsaReader(scene.psas, TODAY, scene.clock, stop).read(PsaState(), refs)
    assert len(read) <= 2


# --- a list is never the only proof that a line is gone -------------------------------------------


def test_on_an_unchanged_day_no_line_is_asked_for_by_its_id(two):
    two.sync()
    assert two.sync().code == 0
    assert two.cw.asked_lines == []


def test_a_line_that_the_list_lacks_and_that_exists_is_billed_as_ever(two, caplog):
    two.sync()
    (line,) = two.cw.held("1042")
    two.cw.hidden.add(line.id)
    two.uses(11)
    found = two.look()
    (wanted,) = found.plan.companies[0].lines
    assert (wanted.line_id, wanted.before, wanted.after, wanted.hold) == (line.id, 10, 11, None)
    assert two.cw.asked_lines == [line.id]
    assert f"agreement 1042 lacks {line.id}, which exist" in caplog.text


def test_where_a_list_is_short_a_second_line_of_the_product_is_seen_too(two):
    two.sync()
    (line,) = two.cw.held("1042")
    two.cw.hidden |= {line.id, two.cw.put("1200", 3, "1042").id}
    assert two.look().plan.companies[0].failure.guard == "ambiguous"


def test_a_line_that_exists_and_is_in_no_list_fails_its_client(two, monkeypatch):
    two.sync()
    (line,) = two.cw.held("1042")
    read = two.cw.lines

    def lines(ref, products=None):
        return tuple(one for one in read(ref, products) if one.id != line.id)

    monkeypatch.setattr(two.cw, "lines", lines)
    day = two.sync()
    assert (day.client().failure.guard, day.code) == ("psa", ExitCode.PSA)
    assert f"lacks {line.id}, which exist" in day.client().failure.reason


def test_a_line_that_is_gone_is_asked_for_once_and_then_deleted(two):
    two.sync()
    (line,) = two.cw.held("1042")
    two.cw.remove(line)
    assert two.sync().client().lines[0].hold.guard == "deleted"
    assert two.cw.asked_lines == [line.id]


def test_a_line_that_cannot_be_asked_for_fails_its_client_and_is_not_deleted(two, monkeypatch):
    two.sync()
    (line,) = two.cw.held("1042")
    two.cw.hidden.add(line.id)

    def line_of(ref, line_id):
        raise UNREADABLE

    monkeypatch.setattr(two.cw, "line", line_of)
    day = two.sync()
    assert (day.client().failure.guard, day.code) == ("psa", ExitCode.PSA)
    assert two.cw.quantities("1043") == {"1200": 20}


def test_a_line_that_is_at_zero_bills_nothing_and_is_not_missed(two):
    two.sync()
    (line,) = two.cw.held("1042")
    fact = replace(two.journal_state().facts[0], line_id=line.id, confirmed=Decimal(0))
    assert known_lines([fact], []) == {}
    for change in ({"confirmed": Decimal(1)}, {"unsettled": True}):
        assert known_lines([replace(fact, **change)]) == {("cw", "1042"): {line.id}}


def test_the_line_of_a_write_with_an_unknown_outcome_is_missed(two):
    def operation(line_id):
        return SimpleNamespace(line=planned(0, 5, line_id=line_id))

    assert known_lines([], [operation(None), operation("301")]) == {("cw", "1042"): {"301"}}
