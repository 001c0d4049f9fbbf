"""Autotask keeps the contract of a PSA, over real sockets, on an API of deltas."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from kisi.errors import PsaError
from kisi.model import AgreementRef, Outcome, WriteStatus
from kisi.planning import candidate
from kisi.run.setup import PSAS
from kisi.sandbox.autotask import Autotask, ContractService
from kisi.sandbox.faults import Faults
from kisi.sandbox.http import Logged
from kisi.transport import Limits
from tests.contract.psa import Held, PsaContract, create, update
from tests.unit.build import TODAY
from tests.unit.fakes import FakeClock

_ADJUST = "POST /atservicesrest/v1.0/ContractServiceAdjustments"
_UNITS = "POST /atservicesrest/v1.0/ContractServiceUnits/query@"


class AutotaskStand:
    """The simulated Autotask and kisi's PSA in front of it. Every contract has every service."""

    def __init__(self, stack: ExitStack, folder: Path, effective: str) -> None:
        self.clock = FakeClock()
        self.world = Autotask(self.clock.now)
        self.faults = Faults()
        self.log: list[Logged] = []
        self._server = self.world.serve(faults=self.faults, log=self.log)
        stack.enter_context(self._server)
        self.psa = self.open(folder, effective)
        stack.callback(self.psa.close)

    def open(self, folder: Path, effective: str):
        kind = PSAS["autotask"]
        zone = f"{self._server.url}/atservicesrest"
        settings = {"kind": "autotask", "zone": zone, "effective": effective}
        names = ("user", "secret", "integration_code")
        return kind.open(
            "at",
            kind.settings.model_validate(settings),
            dict(zip(names, self.world.login, strict=True)),
            base=folder,
            clock=self.clock,
            limits=Limits(read=2.0),
        )

    def client(self, name: str = "Contoso") -> AgreementRef:
        company = self.world.company(name)
        return self._contract(company)

    def _contract(self, company: int) -> AgreementRef:
        contract = self.world.contract(company)
        for service in self.world.services:
            self.world.add_service(contract, service)
        return AgreementRef("at", str(company), str(contract.id))

    def sibling(self, ref: AgreementRef) -> AgreementRef:
        return self._contract(int(ref.company))

    def product(self, name: str = "KES", price: float = 3.0) -> str:
        service = self.world.service(name, price)
        for contract in self.world.contracts.values():
            self.world.add_service(contract, service)
        return str(service)

    def service(self, ref: AgreementRef, product: str) -> ContractService:
        """The first one of a contract for a product."""
        return next(
            one
            for one in self.world.lines.values()
            if (one.contract, one.service) == (int(ref.agreement), int(product))
        )

    def line(self, ref: AgreementRef, product: str, quantity: int) -> str:
        return self._fill(self._free(ref, product), quantity)

    def _free(self, ref: AgreementRef, product: str) -> ContractService:
        line = self.service(ref, product)
        if any(period.units for period in line.periods):
            line = self.world.add_service(self.world.contracts[line.contract], line.service)
        return line

    def _fill(self, line: ContractService, quantity: int) -> str:
        for period in line.periods:
            period.units = quantity
        return str(line.id)

    def dead_line(self, ref: AgreementRef, product: str, quantity: int) -> str:
        """A service whose periods are over bills nothing any more."""
        line = self._free(ref, product)
        self._fill(line, quantity)
        line.periods = [one for one in line.periods if one.end < self.world.today]
        return str(line.id)

    def change(self, line_id: str, quantity: int) -> None:
        self._fill(self.world.lines[int(line_id)], quantity)

    def remove(self, line_id: str) -> None:
        del self.world.lines[int(line_id)]

    def held(self, ref: AgreementRef) -> list[Held]:
        """What is agreed for the next period; a service that never had units is no line."""
        return [
            Held(str(one.id), str(one.service), self.agreed(one))
            for one in self.world.lines.values()
            if one.contract == int(ref.agreement) and any(each.units for each in one.periods)
        ]

    def agreed(self, line: ContractService) -> int:
        return line.units(TODAY + timedelta(days=31))

    def end(self, ref: AgreementRef) -> None:
        self.world.contracts[int(ref.agreement)].ends = self.world.today - timedelta(days=1)

    def delete(self, ref: AgreementRef) -> None:
        del self.world.contracts[int(ref.agreement)]

    def rename(self, ref: AgreementRef, name: str) -> None:
        self.world.contracts[int(ref.agreement)].name = name
        self.world.companies[int(ref.company)]["companyName"] = name

    def rename_product(self, product: str, name: str) -> None:
        self.world.services[int(product)]["name"] = name

    def lose_answers(self, times: int = 1) -> None:
        self.faults.add("lost", match=_ADJUST, times=times)

    def drop_writes(self, times: int = 1) -> None:
        self.faults.add("reset_before", match=_ADJUST, times=times)

    def throttle_writes(self, seconds: int, times: int = 1) -> None:
        headers = {"Retry-After": str(seconds)}
        self.faults.add("status", match=_ADJUST, times=times, code=429, headers=headers)

    def refuse_writes(self) -> None:
        self.world.may_write = False

    def break_lines(self, ref: AgreementRef) -> None:
        self.faults.add("truncate", match=_UNITS + ref.agreement, times=None)

    def break_login(self) -> None:
        self.world.login = (*self.world.login[:2], "another")

    def close_server(self) -> None:
        self._server.close()

    def writes(self) -> int:
        return sum(logged.path.endswith("/ContractServiceAdjustments") for logged in self.log)


@pytest.fixture
def effective() -> str:
    return "period_start"


@pytest.fixture
def stand(tmp_path: Path, effective: str) -> Iterator[AutotaskStand]:
    with ExitStack() as stack:
        yield AutotaskStand(stack, tmp_path, effective)


class TestAutotask(PsaContract):
    """Every rule, on the simulated Autotask."""

    @pytest.mark.parametrize(("times", "holds"), [(1, 10), (2, 10)])
    def test_an_update_that_never_arrived_is_sent_once_more_and_not_again(
        self, stand, ref, kes, times, holds
    ):
        """Not even once more: an adjustment is a difference, and a late one would count twice."""
        stand.line(ref, kes, 10)
        line = self.only_line(stand, ref)
        stand.drop_writes(times)
        assert self.bring(stand, update(ref, line, 90)) is Outcome.FAILED
        assert [line.quantity for line in stand.held(ref)] == [holds]
        assert stand.writes() == 1

    # --- when a quantity counts -----------------------------------------------------------------

    def units(self, stand, ref, kes) -> tuple[int, int]:
        """The units of this month and of the next."""
        line = stand.service(ref, kes)
        return line.units(TODAY), line.units(TODAY + timedelta(days=31))

    def test_an_increase_counts_for_the_whole_running_period(self, stand, ref, kes):
        stand.line(ref, kes, 30)
        assert self.bring(stand, update(ref, self.only_line(stand, ref), 34)) is Outcome.APPLIED
        assert self.units(stand, ref, kes) == (34, 34)
        assert stand.service(ref, kes).adjusted == {TODAY.replace(day=1)}

    def test_a_decrease_counts_from_the_next_period_and_is_shown(self, stand, ref, kes):
        stand.line(ref, kes, 34)
        assert self.bring(stand, update(ref, self.only_line(stand, ref), 30)) is Outcome.APPLIED
        assert self.units(stand, ref, kes) == (34, 30)
        line = self.only_line(stand, ref)
        assert (line.quantity, line.pending) == (30, "34 → 30 from 2026-12-01")

    def test_ten_daily_runs_with_one_future_decrease_end_with_one_adjustment(self, stand, ref, kes):
        stand.line(ref, kes, 34)
        for _ in range(10):
            line = self.only_line(stand, ref)
            if line.quantity != 30:
                assert self.bring(stand, update(ref, line, 30)) is Outcome.APPLIED
        assert stand.writes() == 1
        assert self.units(stand, ref, kes) == (34, 30)

    def test_a_posted_period_is_left_alone_and_the_next_one_takes_the_increase(
        self, stand, ref, kes
    ):
        stand.line(ref, kes, 30)
        for period in stand.service(ref, kes).periods:
            period.posted = TODAY if period.start <= TODAY else None
        assert self.bring(stand, update(ref, self.only_line(stand, ref), 34)) is Outcome.APPLIED
        assert self.units(stand, ref, kes) == (30, 34)

    def test_a_second_increase_within_a_period_counts_from_today_on(self, stand, ref, kes):
        stand.line(ref, kes, 30)
        for after in (34, 36):
            line = self.only_line(stand, ref)
            assert self.bring(stand, update(ref, line, after)) is Outcome.APPLIED
        assert self.units(stand, ref, kes) == (36, 36)
        assert stand.service(ref, kes).adjusted == {TODAY.replace(day=1), TODAY}

    def test_an_increase_below_this_months_units_only_softens_the_pending_decrease(
        self, stand, ref, kes
    ):
        stand.line(ref, kes, 34)
        self.next_month(stand, ref, kes, 30)
        assert self.bring(stand, update(ref, self.only_line(stand, ref), 32)) is Outcome.APPLIED
        assert self.units(stand, ref, kes) == (34, 32)

    def test_an_increase_above_both_is_refused_in_words_and_sends_nothing(self, stand, ref, kes):
        stand.line(ref, kes, 34)
        self.next_month(stand, ref, kes, 30)
        answer = self.send(stand, update(ref, self.only_line(stand, ref), 40))
        assert answer.status is WriteStatus.REJECTED
        assert "it is to change from 34 to 30 on 2026-12-01" in answer.message
        assert (self.units(stand, ref, kes), stand.writes()) == ((34, 30), 0)

    def next_month(self, stand, ref, kes, units):
        """A person has agreed other units for the next month on."""
        for period in stand.service(ref, kes).periods:
            if period.start > TODAY:
                period.units = units

    def test_a_second_decrease_for_one_day_is_refused_in_words(self, stand, ref, kes):
        stand.line(ref, kes, 34)
        assert self.bring(stand, update(ref, self.only_line(stand, ref), 30)) is Outcome.APPLIED
        answer = self.send(stand, update(ref, self.only_line(stand, ref), 28))
        assert answer.status is WriteStatus.REJECTED
        assert "one adjustment of a service on one day" in answer.message
        assert self.units(stand, ref, kes) == (34, 30)

    def test_the_last_period_of_a_contract_takes_no_decrease(self, stand, ref, kes):
        stand.line(ref, kes, 34)
        line = stand.service(ref, kes)
        line.periods = [one for one in line.periods if one.start <= TODAY]
        answer = self.send(stand, update(ref, self.only_line(stand, ref), 30))
        assert answer.status is WriteStatus.REJECTED
        assert "there is no next one" in answer.message
        assert (line.units(TODAY), stand.writes()) == (34, 0)

    @pytest.mark.parametrize("effective", ["day"])
    def test_with_day_both_count_from_today_on(self, stand, ref, kes):
        stand.line(ref, kes, 34)
        assert self.bring(stand, update(ref, self.only_line(stand, ref), 30)) is Outcome.APPLIED
        assert self.units(stand, ref, kes) == (30, 30)
        assert stand.service(ref, kes).adjusted == {TODAY}

    @pytest.mark.parametrize("effective", ["next_period"])
    def test_with_next_period_this_months_units_never_change(self, stand, ref, kes):
        stand.line(ref, kes, 34)
        assert self.bring(stand, update(ref, self.only_line(stand, ref), 40)) is Outcome.APPLIED
        assert self.units(stand, ref, kes) == (34, 40)

    # --- an API of deltas -----------------------------------------------------------------------

    def test_a_lost_answer_that_shows_late_is_not_sent_again(self, stand, ref, kes):
        stand.line(ref, kes, 10)
        line = self.only_line(stand, ref)
        stand.lose_answers()
        stand.world.late = timedelta(seconds=60)
        assert self.bring(stand, update(ref, line, 90)) is Outcome.FAILED
        assert stand.writes() == 1
        stand.clock.sleep(60)
        assert self.only_line(stand, ref).quantity == 90
        assert self.bring(stand, update(ref, self.only_line(stand, ref), 90)) is Outcome.APPLIED
        assert stand.writes() == 1

    def test_a_service_without_units_is_no_line_and_its_first_quantity_a_create(
        self, stand, ref, kes
    ):
        ready = stand.service(ref, kes)
        assert [(line.quantity, line.empty) for line in stand.psa.lines(ref)] == [(0, True)]
        assert candidate(stand.psa.lines(ref), kes, TODAY) is None
        assert stand.psa.lines(ref, {kes}) == ()
        assert stand.psa.line(ref, str(ready.id)) is None
        assert self.bring(stand, create(ref, kes, 90)) is Outcome.APPLIED
        assert self.only_line(stand, ref).id == str(ready.id)
        assert self.units(stand, ref, kes) == (90, 90)

    def test_a_service_that_the_contract_lacks_is_refused_and_not_made(self, stand, ref, kes):
        stand.remove(str(stand.service(ref, kes).id))
        answer = self.send(stand, create(ref, kes, 3))
        assert answer.status is WriteStatus.REJECTED
        assert "add it to the contract in Autotask, with 0 units" in answer.message
        assert (stand.world.lines, stand.writes()) == ({}, 0)

    def test_a_contract_that_was_renewed_refuses_in_words(self, stand, ref, kes):
        agreement = self.agreement(stand, ref)
        stand.world.contracts[int(ref.agreement)].ends = TODAY.replace(day=1) - timedelta(days=1)
        answer = stand.psa.write(create(ref, kes, 3), agreement, TODAY)
        assert answer.status is WriteStatus.REJECTED
        assert "ended or was renewed" in answer.message
        assert stand.held(ref) == []

    @pytest.mark.parametrize(("field", "value"), [("kind", 1), ("status", 0)])
    def test_another_type_and_an_inactive_contract_are_unfit_and_may_bill(
        self, stand, ref, field, value
    ):
        setattr(stand.world.contracts[int(ref.agreement)], field, value)
        found = self.agreement(stand, ref)
        assert found.not_billable is not None
        assert not found.gone

    def test_lists_in_small_pages_arrive_whole(self, stand, ref, kes):
        names = {stand.client(f"C{n}").company for n in range(4)} | {ref.company}
        stand.line(ref, kes, 9)
        stand.world.page = 2
        assert {one.id for one in stand.psa.all_companies()} == names
        assert self.only_line(stand, ref).quantity == 9

    def test_a_wrong_secret_is_sent_once_and_called_a_refused_login(self, stand, ref):
        stand.break_login()
        with pytest.raises(PsaError) as caught:
            stand.psa.agreements([ref], TODAY)
        assert caught.value.guard == "login"
        assert len(stand.log) == 1

    def test_a_limit_that_may_not_be_read_stops_nobody(self, stand, ref, kes):
        stand.faults.add("status", match="GET *ThresholdInformation", times=None, code=403)
        assert len(stand.psa.lines(ref)) == 1

    def test_one_request_too_many_waits_and_a_near_limit_slows_down(self, stand, ref, kes):
        stand.world.used = 7_600
        assert len(stand.psa.lines(ref)) == 1
        assert set(stand.clock.slept) == {1.0}

    def test_a_thread_threshold_error_is_waited_out(self, stand, ref, kes):
        body = {"errors": ["Thread Threshold Exceeded (Itgenatr005)."]}
        stand.faults.add("status", match=_ADJUST, times=1, code=500, body=body)
        assert self.bring(stand, create(ref, kes, 90)) is Outcome.APPLIED
        assert self.units(stand, ref, kes) == (90, 90)

    def test_a_next_page_on_another_host_is_not_followed(self, stand, ref, kes):
        assert len(stand.psa.lines(ref)) == 1
        with pytest.raises(ValueError, match="another host"):
            stand.psa._following(
                "https://evil.example/atservicesrest/v1.0/Contracts/query/next?x=1"
            )

    def test_the_check_says_what_the_api_user_may_do(self, stand, ref, kes):
        findings = stand.psa.check_online(ref.agreement)
        assert [one.level.name for one in findings] == ["OK"] * 8 + ["NOTE"]
        assert stand.writes() == 0

    def test_names_are_read_in_any_case(self, stand, ref, kes):
        stand.line(ref, kes, 9)
        stand.world.pascal = True
        stand.world.page = 1
        assert self.only_line(stand, ref).quantity == 9
        assert self.bring(stand, update(ref, self.only_line(stand, ref), 12)) is Outcome.APPLIED
        assert self.units(stand, ref, kes) == (12, 12)

    @pytest.mark.parametrize(
        ("said", "told"),
        [
            ("The units must not become negative.", "Somebody changed the units meanwhile"),
            ("effectiveDate must be between the start date and end date", "ended or was renewed"),
            ("an already approved and posted contract period", "invoiced already"),
            ("insert duplicate data into contract_service_period", "one adjustment of a service"),
            ("does not have the adequate permissions", "right to change contracts"),
        ],
    )
    def test_a_refusal_inside_a_500_is_told_in_words_and_nothing_is_repeated(
        self, stand, ref, kes, said, told
    ):
        stand.line(ref, kes, 9)
        body = {"errors": [said]}
        stand.faults.add("status", match=_ADJUST, times=None, code=500, body=body)
        answer = self.send(stand, update(ref, self.only_line(stand, ref), 7))
        assert answer.status is WriteStatus.REJECTED
        assert told in answer.message
        assert stand.writes() == 1
        assert self.units(stand, ref, kes) == (9, 9)

    def test_a_500_that_says_nothing_is_unclear_and_read_back(self, stand, ref, kes):
        stand.line(ref, kes, 9)
        stand.faults.add("status", match=_ADJUST, times=None, code=500, body="oops", applied=True)
        assert self.bring(stand, update(ref, self.only_line(stand, ref), 7)) is Outcome.APPLIED
        assert (self.units(stand, ref, kes), stand.writes()) == ((9, 7), 1)

    # --- where the secrets go -------------------------------------------------------------------

    def without_zone(self, stand, monkeypatch):
        monkeypatch.setattr("kisi.psa.autotask.wire.ZONES", stand._server.url)
        kind = PSAS["autotask"]
        names = ("user", "secret", "integration_code")
        return kind.open(
            "at",
            kind.settings.model_validate({"kind": "autotask"}),
            dict(zip(names, stand.world.login, strict=True)),
            base=Path(),
            clock=stand.clock,
            limits=Limits(read=2.0),
        )

    def test_the_zone_is_asked_for_without_a_secret(self, stand, ref, kes, monkeypatch):
        psa = self.without_zone(stand, monkeypatch)
        assert psa.agreements([ref], TODAY)[ref].not_billable is None
        asked, *others = stand.log
        assert asked.path.endswith("/zoneInformation")
        assert "secret" not in asked.headers
        assert others
        assert all(one.headers["secret"] == stand.world.login[1] for one in others)
        psa.close()

    @pytest.mark.parametrize(
        "url",
        [
            "https://evil.example/atservicesrest",
            "http://webservices2.autotask.net/atservicesrest",
            "https://autotask.net.evil.example/",
            "https://u@webservices2.autotask.net/",
            "https://webservices2.autotask.net:8443/",
            "",
        ],
    )
    def test_no_secret_goes_to_another_host(self, stand, ref, monkeypatch, url):
        body = {"url": url}
        stand.faults.add("status", match="GET *zoneInformation", times=None, code=200, body=body)
        psa = self.without_zone(stand, monkeypatch)
        with pytest.raises(PsaError, match="names no zone") as caught:
            psa.agreements([ref], TODAY)
        assert "set zone" in caught.value.remedy
        assert not any("secret" in one.headers for one in stand.log)
        psa.close()
