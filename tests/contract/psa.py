"""What every PSA must do: a concrete test class inherits `PsaContract` and gives a `stand`.

The rules are those of `kisi.psa.Psa`. They are judged by what the vendor's system holds afterwards,
seen past kisi, and by how many writes reached it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

import pytest

from kisi.apply.write import Writer
from kisi.errors import ExitCode, PsaError
from kisi.model import (
    Action,
    Agreement,
    AgreementRef,
    Category,
    Line,
    NotBillable,
    Outcome,
    PlannedLine,
    WriteResult,
    WriteStatus,
)
from kisi.planning import CannotPlan, candidate, is_live
from kisi.psa import Psa
from tests.unit.build import TODAY
from tests.unit.fakes import FakeClock

HOSTILE = '=cmd|[bold red]Büro & Söhne[/] <b>"\x1b[31m\u202egnihtyreve 東京'


@dataclass(frozen=True)
class Held:
    """A line as the vendor's system has it."""

    id: str
    product: str
    quantity: float


class PsaStand(Protocol):
    """A PSA, its vendor's simulated server, and what people do there."""

    psa: Psa
    clock: FakeClock

    def client(self, name: str = "Contoso") -> AgreementRef:
        """A new company or account with an agreement that may be billed."""

    def sibling(self, ref: AgreementRef) -> AgreementRef:
        """Another agreement of the same company or account."""

    def product(self, name: str = "KES", price: float = 3.0) -> str:
        """A new product's id."""

    def line(self, ref: AgreementRef, product: str, quantity: int) -> str:
        """A person adds a line; returns its id."""

    def dead_line(self, ref: AgreementRef, product: str, quantity: int) -> str:
        """A line that stands there and will not be billed again and again."""

    def change(self, line_id: str, quantity: int) -> None:
        """A person changes a line."""

    def remove(self, line_id: str) -> None:
        """A person deletes a line."""

    def held(self, ref: AgreementRef) -> list[Held]:
        """Every line there really is."""

    def end(self, ref: AgreementRef) -> None:
        """The agreement ended yesterday."""

    def delete(self, ref: AgreementRef) -> None:
        """The agreement is deleted."""

    def rename(self, ref: AgreementRef, name: str) -> None:
        """A person renames everything about the client that has a name."""

    def rename_product(self, product: str, name: str) -> None:
        """A person renames a product."""

    def lose_answers(self, times: int = 1) -> None:
        """The next writes are applied and their answers lost."""

    def drop_writes(self, times: int = 1) -> None:
        """The connection breaks before the next writes are applied."""

    def throttle_writes(self, seconds: int, times: int = 1) -> None:
        """The next writes are answered with 429."""

    def refuse_writes(self) -> None:
        """From now on our account may not write."""

    def break_lines(self, ref: AgreementRef) -> None:
        """From now on the answer with this agreement's lines is cut off."""

    def break_login(self) -> None:
        """From now on our credentials are refused."""

    def close_server(self) -> None:
        """From now on nothing answers."""

    def writes(self) -> int:
        """How many requests to write have reached the server."""


def create(ref: AgreementRef, product: str, after: int) -> PlannedLine:
    return PlannedLine(
        psa=ref.psa,
        company=ref.company,
        agreement=ref.agreement,
        application="KES",
        categories=(Category.ALL,),
        product=product,
        line_id=None,
        action=Action.CREATE,
        before=None,
        after=after,
    )


def update(ref: AgreementRef, line: Line, after: int) -> PlannedLine:
    return PlannedLine(
        psa=ref.psa,
        company=ref.company,
        agreement=ref.agreement,
        application="KES",
        categories=(Category.ALL,),
        product=line.product,
        line_id=line.id,
        action=Action.UPDATE,
        before=line.quantity,
        after=after,
        unit_price=line.unit_price,
        description=line.description,
    )


def patient(psa: Psa, clock: FakeClock) -> Writer:
    """Waits as long as a PSA asks."""

    def before_sending(seconds: float) -> bool:
        if seconds:
            clock.sleep(seconds)
        return True

    return Writer(psa, TODAY, before_sending, clock.sleep)


class PsaContract:
    """Inherited by one test class a PSA."""

    @pytest.fixture
    def ref(self, stand: PsaStand) -> AgreementRef:
        return stand.client()

    @pytest.fixture
    def kes(self, stand: PsaStand) -> str:
        return stand.product()

    def agreement(self, stand: PsaStand, ref: AgreementRef) -> Agreement:
        found = stand.psa.agreements([ref], TODAY)[ref]
        assert isinstance(found, Agreement)
        return found

    def send(self, stand: PsaStand, line: PlannedLine) -> WriteResult:
        """One request, as `Psa.write` sends it."""
        return stand.psa.write(line, self.agreement(stand, line.ref), TODAY)

    def bring(self, stand: PsaStand, line: PlannedLine) -> Outcome:
        """The whole way of a change, with repeats, reading back and the confirming list."""
        writer = patient(stand.psa, stand.clock)
        outcome = writer.write(line, self.agreement(stand, line.ref))
        if outcome.outcome is Outcome.APPLIED and not outcome.shown:
            (outcome,) = writer.confirm([(line, outcome)])
        return outcome.outcome

    def reads(self, stand: PsaStand, ref: AgreementRef, kes: str) -> list[Callable[[], object]]:
        """Every question about one agreement."""
        return [
            lambda: stand.psa.lines(ref),
            lambda: stand.psa.lines(ref, [kes]),
            lambda: stand.psa.line(ref, "301"),
            lambda: stand.psa.agreements_of([ref.company], TODAY),
        ]

    def only_line(self, stand: PsaStand, ref: AgreementRef) -> Line:
        (line,) = stand.psa.lines(ref)
        return line

    # --- reading --------------------------------------------------------------------------------

    def test_it_says_what_it_is(self, stand):
        assert stand.psa.name
        assert stand.psa.workers >= 1
        assert stand.psa.accounts_word in {"company", "account"}
        assert stand.psa.withheld() is None

    def test_an_agreement_that_may_be_billed_is_fit(self, stand, ref):
        found = self.agreement(stand, ref)
        assert (found.ref, found.not_billable, found.gone) == (ref, None, False)

    def test_all_lines_are_read_also_those_of_others(self, stand, ref, kes):
        backup = stand.product("BACKUP")
        ids = {stand.line(ref, kes, 9), stand.line(ref, backup, 3)}
        lines = stand.psa.lines(ref)
        assert {line.id for line in lines} == ids
        assert {line.product: line.quantity for line in lines} == {kes: 9, backup: 3}
        assert {line.agreement for line in lines} == {ref.agreement}
        assert all(is_live(line, TODAY) and line.billable for line in lines)

    def test_an_agreement_without_lines_has_none(self, stand, ref):
        assert stand.psa.lines(ref) == ()

    def test_the_lines_of_products_are_all_of_them_also_dead_ones(self, stand, ref, kes):
        backup, edr = stand.product("BACKUP"), stand.product("EDR")
        ids = {stand.line(ref, kes, 9), stand.line(ref, kes, 1), stand.dead_line(ref, kes, 5)}
        stand.line(ref, backup, 3)
        asked = stand.psa.lines(ref, [kes, edr])
        assert {line.id for line in asked if line.product in {kes, edr}} == ids
        assert set(asked) <= set(stand.psa.lines(ref))
        assert not any(line.product == edr for line in stand.psa.lines(ref, {edr}))

    def test_any_number_of_products_can_be_asked_for_also_such_as_nobody_has(self, stand, ref, kes):
        mine = stand.line(ref, kes, 9)
        many = [kes, "x", "", *(str(70_000_000 + n) for n in range(400))]
        assert mine in {line.id for line in stand.psa.lines(ref, many)}
        assert not any(line.product == "x" for line in stand.psa.lines(ref, ["x"]))
        assert not any(line.product for line in stand.psa.lines(ref, []) if line.id != mine)

    def test_a_line_asked_for_by_its_id_is_the_one_of_the_list(self, stand, ref, kes):
        ids = [stand.line(ref, kes, 9), stand.dead_line(ref, kes, 5)]
        listed = {line.id: line for line in stand.psa.lines(ref)}
        assert [stand.psa.line(ref, one) for one in ids] == [listed[one] for one in ids]

    def test_a_line_that_the_agreement_does_not_have_is_none(self, stand, ref, kes):
        other = stand.client("Fabrikam")
        theirs, gone = stand.line(other, kes, 3), stand.line(ref, kes, 9)
        stand.remove(gone)
        for one in (theirs, gone, "77777777", "0", "x", "", "1; DROP", "٣", "1" * 30):
            assert stand.psa.line(ref, one) is None
        assert stand.psa.line(other, theirs).quantity == 3

    def test_a_line_that_could_not_be_asked_for_is_never_gone(self, stand, ref, kes):
        mine = stand.line(ref, kes, 9)
        stand.break_lines(ref)
        with pytest.raises(PsaError) as caught:
            stand.psa.line(ref, mine)
        assert caught.value.exit_code is ExitCode.PSA

    def test_the_active_agreements_of_a_company_are_found_and_judged(self, stand, ref):
        sibling, ended, other = stand.sibling(ref), stand.sibling(ref), stand.client("Fabrikam")
        stand.end(ended)
        found = stand.psa.agreements_of([ref.company, other.company, "77777777", "x"], TODAY)
        assert {company: {one.ref for one in all_of} for company, all_of in found.items()} == {
            ref.company: {ref, sibling},
            other.company: {other},
            "77777777": set(),
            "x": set(),
        }
        assert all(
            not one.not_billable and not one.gone for all_of in found.values() for one in all_of
        )
        judged = stand.psa.agreements([ref, sibling], TODAY)
        assert {one.ref: one for one in found[ref.company]} == judged

    def test_no_company_has_no_agreements_and_nothing_is_asked(self, stand):
        assert stand.psa.agreements_of([], TODAY) == {}

    def test_a_line_that_is_over_is_read_and_is_no_candidate(self, stand, ref, kes):
        dead = stand.dead_line(ref, kes, 9)
        line = self.only_line(stand, ref)
        assert (line.id, line.quantity) == (dead, 9)
        assert not is_live(line, TODAY)
        assert candidate(stand.psa.lines(ref), kes, TODAY) is None

    def test_two_lines_of_one_product_are_both_seen_and_the_planner_refuses_to_choose(
        self, stand, ref, kes
    ):
        ids = {stand.line(ref, kes, 4), stand.line(ref, kes, 5)}
        lines = stand.psa.lines(ref)
        assert {line.id for line in lines} == ids
        with pytest.raises(CannotPlan) as caught:
            candidate(lines, kes, TODAY)
        assert caught.value.failure.guard == "ambiguous"

    def test_ids_decide_and_names_are_decoration(self, stand, ref, kes):
        twin = stand.client("Contoso")
        stand.rename(ref, HOSTILE)
        stand.rename_product(kes, HOSTILE)
        assert self.agreement(stand, ref).not_billable is None
        assert self.send(stand, create(ref, kes, 7)).status is WriteStatus.APPLIED
        assert [(line.product, line.quantity) for line in stand.held(ref)] == [(kes, 7)]
        assert stand.held(twin) == []
        assert self.only_line(stand, ref).product == kes

    def test_an_agreement_that_ended_is_unfit_and_gone(self, stand, ref):
        stand.end(ref)
        found = self.agreement(stand, ref)
        assert isinstance(found.not_billable, NotBillable)
        assert (found.not_billable.guard, found.gone) == ("agreement", True)
        assert found.not_billable.reason
        assert found.not_billable.remedy

    def test_an_agreement_that_does_not_exist_is_unfit_and_gone(self, stand, ref):
        stand.delete(ref)
        found = self.agreement(stand, ref)
        assert isinstance(found.not_billable, NotBillable)
        assert found.gone

    def test_an_agreement_of_another_client_is_unfit(self, stand, ref):
        other = stand.client("Fabrikam")
        wrong = AgreementRef(ref.psa, other.company, ref.agreement)
        found = self.agreement(stand, wrong)
        assert isinstance(found.not_billable, NotBillable)
        assert not found.gone

    @pytest.mark.parametrize("number", ["0", "999999", "x", "1042; DROP", "٣", "", "1" * 30])
    def test_an_agreement_number_that_nobody_has_is_unfit(self, stand, ref, number):
        wrong = AgreementRef(ref.psa, ref.company, number)
        found = stand.psa.agreements([wrong, ref], TODAY)
        assert found[wrong].not_billable is not None
        assert found[ref].not_billable is None

    def test_a_companys_agreements_are_those_that_bill_today(self, stand, ref):
        sibling, ended = stand.sibling(ref), stand.sibling(ref)
        stand.end(ended)
        other = stand.client("Fabrikam")
        found = stand.psa.agreements_of([ref.company, other.company], TODAY)
        refs = {company: [one.ref for one in listed] for company, listed in found.items()}
        assert refs == {ref.company: [ref, sibling], other.company: [other]}
        assert not any(one.gone for listed in found.values() for one in listed)

    @pytest.mark.parametrize("nobody", ["999999", "x", "1; DROP", ""])
    def test_a_company_that_nobody_has_has_no_agreements(self, stand, ref, nobody):
        found = stand.psa.agreements_of([nobody, ref.company], TODAY)
        assert [len(found[company]) for company in (nobody, ref.company)] == [0, 1]

    def test_agreements_that_cannot_be_asked_for_are_an_error(self, stand, ref):
        stand.close_server()
        with pytest.raises(PsaError):
            stand.psa.agreements_of([ref.company], TODAY)

    def test_one_unfit_agreement_takes_no_other_with_it(self, stand, ref):
        ended, gone, well = (stand.client(name) for name in ("Ended", "Gone", "Well"))
        stand.end(ended)
        stand.delete(gone)
        found = stand.psa.agreements([ended, gone, ref, well], TODAY)
        fit = {one: agreement.not_billable is None for one, agreement in found.items()}
        assert fit == {ended: False, gone: False, ref: True, well: True}

    def test_nothing_is_asked_for_no_agreement_and_no_product(self, stand):
        assert stand.psa.agreements([], TODAY) == {}
        assert stand.psa.products([]) == {}

    def test_lines_that_do_not_arrive_whole_are_an_error_of_that_agreement_alone(
        self, stand, ref, kes
    ):
        other = stand.client("Fabrikam")
        for place in (ref, other):
            stand.line(place, kes, 9)
        stand.break_lines(ref)
        with pytest.raises(PsaError) as caught:
            stand.psa.lines(ref)
        assert caught.value.exit_code is ExitCode.PSA
        assert self.only_line(stand, other).quantity == 9

    def test_products_have_prices_and_unknown_ones_are_left_out(self, stand):
        kes, edr = stand.product("KES", 4.5), stand.product("EDR", 2.0)
        found = stand.psa.products([kes, edr, "77777777", "x"])
        assert {key: item.price for key, item in found.items()} == {
            kes: Decimal("4.5"),
            edr: Decimal(2),
        }
        assert {item.id for item in found.values()} == {kes, edr}

    def test_everything_can_be_listed_for_a_mapping(self, stand, ref, kes):
        ended = stand.client("Ended")
        stand.end(ended)
        companies = {one.id: one.name for one in stand.psa.all_companies()}
        assert companies == {ref.company: "Contoso", ended.company: "Ended"}
        agreements = {one.id: one for one in stand.psa.all_agreements()}
        assert {one.id: one.company for one in agreements.values()} == {
            ref.agreement: ref.company,
            ended.agreement: ended.company,
        }
        assert agreements[ref.agreement].active
        assert not agreements[ended.agreement].active
        assert [one.id for one in stand.psa.all_products()] == [kes]

    # --- writing --------------------------------------------------------------------------------

    def test_a_create_makes_exactly_one_line(self, stand, ref, kes):
        receipt = self.send(stand, create(ref, kes, 90))
        (line,) = stand.held(ref)
        assert (line.product, line.quantity) == (kes, 90)
        assert (receipt.status, receipt.line_id) == (WriteStatus.APPLIED, line.id)
        assert receipt.quantity == 90
        shown = self.only_line(stand, ref)
        assert (shown.id, shown.quantity) == (line.id, 90)
        assert is_live(shown, TODAY)
        assert stand.writes() == 1

    def test_an_update_changes_its_line_and_nothing_else(self, stand, ref, kes):
        mine, other = stand.line(ref, kes, 10), stand.line(ref, stand.product("BACKUP"), 3)
        before = {line.id: line for line in stand.psa.lines(ref)}
        receipt = self.send(stand, update(ref, before[mine], 12))
        assert (receipt.status, receipt.line_id, receipt.quantity) == (
            WriteStatus.APPLIED,
            mine,
            12,
        )
        after = {line.id: line for line in stand.psa.lines(ref)}
        assert after[mine].quantity == 12
        assert after[mine].unit_price == before[mine].unit_price
        assert after[other] == before[other]

    def test_a_quantity_of_zero_stays_a_line(self, stand, ref, kes):
        stand.line(ref, kes, 10)
        assert self.bring(stand, update(ref, self.only_line(stand, ref), 0)) is Outcome.APPLIED
        assert [line.quantity for line in stand.held(ref)] == [0]
        assert self.only_line(stand, ref).quantity == 0

    def test_the_same_write_twice_is_the_same_quantity_once(self, stand, ref, kes):
        stand.line(ref, kes, 10)
        change = update(ref, self.only_line(stand, ref), 12)
        for _ in range(2):
            assert self.bring(stand, change) is Outcome.APPLIED
            assert [line.quantity for line in stand.held(ref)] == [12]

    def test_a_create_whose_answer_is_lost_leaves_one_line(self, stand, ref, kes):
        stand.lose_answers()
        assert self.bring(stand, create(ref, kes, 90)) is Outcome.APPLIED
        assert [(line.product, line.quantity) for line in stand.held(ref)] == [(kes, 90)]
        assert stand.writes() == 1

    def test_a_lost_answer_is_never_called_a_refusal(self, stand, ref, kes):
        stand.lose_answers()
        receipt = self.send(stand, create(ref, kes, 90))
        assert receipt.status in {WriteStatus.UNKNOWN, WriteStatus.APPLIED}

    def test_an_update_whose_answer_is_lost_is_applied_once(self, stand, ref, kes):
        stand.line(ref, kes, 10)
        stand.lose_answers()
        assert self.bring(stand, update(ref, self.only_line(stand, ref), 12)) is Outcome.APPLIED
        assert [line.quantity for line in stand.held(ref)] == [12]
        assert stand.writes() == 1

    @pytest.mark.parametrize(("times", "holds"), [(1, 90), (2, 10)])
    def test_an_update_that_never_arrived_is_sent_once_more_and_not_again(
        self, stand, ref, kes, times, holds
    ):
        stand.line(ref, kes, 10)
        line = self.only_line(stand, ref)
        stand.drop_writes(times)
        outcome = self.bring(stand, update(ref, line, 90))
        assert outcome is (Outcome.APPLIED if times == 1 else Outcome.FAILED)
        assert [line.quantity for line in stand.held(ref)] == [holds]
        assert stand.writes() == 2

    def test_a_create_that_never_arrived_is_unknown_and_not_sent_again(self, stand, ref, kes):
        stand.drop_writes()
        assert self.bring(stand, create(ref, kes, 90)) is Outcome.UNKNOWN
        assert stand.held(ref) == []
        assert stand.writes() == 1

    def test_a_throttled_write_is_sent_when_the_psa_says(self, stand, ref, kes):
        stand.throttle_writes(7, times=2)
        assert self.bring(stand, create(ref, kes, 90)) is Outcome.APPLIED
        assert [line.quantity for line in stand.held(ref)] == [90]
        assert stand.clock.slept == [7, 7]

    def test_a_write_without_the_right_writes_nothing(self, stand, ref, kes):
        stand.line(ref, kes, 10)
        line = self.only_line(stand, ref)
        stand.refuse_writes()
        for change in (update(ref, line, 12), create(ref, stand.product("EDR"), 3)):
            receipt = self.send(stand, change)
            assert receipt.status is WriteStatus.REJECTED
            assert receipt.message
        assert [(line.product, line.quantity) for line in stand.held(ref)] == [(kes, 10)]

    def test_a_product_that_does_not_exist_is_refused(self, stand, ref):
        receipt = self.send(stand, create(ref, "88888888", 3))
        assert receipt.status is WriteStatus.REJECTED
        assert not receipt.denied
        assert stand.held(ref) == []

    def test_a_line_that_is_gone_is_not_written_and_not_created(self, stand, ref, kes):
        mine = stand.line(ref, kes, 10)
        change = update(ref, self.only_line(stand, ref), 12)
        stand.remove(mine)
        assert self.bring(stand, change) is Outcome.FAILED
        assert stand.held(ref) == []

    def test_lines_that_another_program_changes_meanwhile_keep_their_ids(self, stand, ref, kes):
        mine = stand.line(ref, kes, 10)
        stand.change(mine, 11)
        line = self.only_line(stand, ref)
        assert (line.id, line.quantity) == (mine, 11)
        assert self.bring(stand, update(ref, line, 12)) is Outcome.APPLIED
        assert [(line.id, line.quantity) for line in stand.held(ref)] == [(mine, 12)]

    def test_a_persons_change_in_the_meantime_ends_in_one_of_both_numbers(self, stand, ref, kes):
        mine = stand.line(ref, kes, 10)
        change = update(ref, self.only_line(stand, ref), 12)
        stand.change(mine, 11)
        outcome = self.bring(stand, change)
        ends = {Outcome.APPLIED: [12], Outcome.FAILED: [11]}
        assert [line.quantity for line in stand.held(ref)] == ends[outcome]

    # --- trouble --------------------------------------------------------------------------------

    def test_refused_credentials_end_everything(self, stand, ref, kes):
        agreement = self.agreement(stand, ref)
        stand.break_login()
        with pytest.raises(PsaError) as caught:
            stand.psa.agreements([ref], TODAY)
        assert caught.value.exit_code is ExitCode.PSA
        assert caught.value.remedy
        for ask in self.reads(stand, ref, kes):
            with pytest.raises(PsaError):
                ask()
        receipt = stand.psa.write(create(ref, kes, 3), agreement, TODAY)
        assert (receipt.status, receipt.denied) == (WriteStatus.REJECTED, True)
        assert stand.held(ref) == []

    def test_where_nothing_answers_reads_fail_and_a_write_was_not_sent(self, stand, ref, kes):
        agreement = self.agreement(stand, ref)
        stand.close_server()
        with pytest.raises(PsaError):
            stand.psa.agreements([ref], TODAY)
        for ask in (*self.reads(stand, ref, kes), stand.psa.all_companies):
            with pytest.raises(PsaError):
                ask()
        receipt = stand.psa.write(create(ref, kes, 3), agreement, TODAY)
        assert receipt.status is WriteStatus.NOT_SENT
        assert receipt.message

    def test_it_can_be_closed_twice_also_unused(self, stand):
        stand.psa.close()
        stand.psa.close()
