"""A run ends in time, whatever hangs; what was read by then is billed."""

from __future__ import annotations

from typing import Any

import pytest

from kisi.journal import Journal
from kisi.run import setup
from kisi.sandbox.faults import Faults
from kisi.sandbox.ksc import Ksc
from kisi.sandbox.world import World
from tests.conftest import WINDOWS
from tests.faults.conftest import CREATE, Trial, outcome, trouble


@pytest.fixture
def limited(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> Trial:
    """The sources must be read within seconds, and the run may last a minute."""
    monkeypatch.setattr(setup, "READING_SHARE", (10 if WINDOWS else 2) / 60)  # Wine is slow
    monkeypatch.setattr(setup, "RUN_SECONDS", 60.0)
    return trial


@pytest.mark.fault(
    11,
    injection="one virtual server hangs for ever",
    outcome="the deadline for reading ends it: exit 4, that client fails, the others are billed",
)
def test_a_virtual_server_that_hangs_for_ever_fails_its_client_alone(limited: Trial):
    limited.fault("hang", "LicenseKeys.EnumKeys@Contoso", times=None, seconds=600)

    result = limited.sync()

    assert result.code == 4
    assert limited.contoso.additions == []
    assert limited.fabrikam.quantities == {limited.product: 3}
    assert (
        "1 of 2 clients up to date; need attention: Contoso (source-incomplete: "
        in limited.sentence
    )
    assert "the time is over; POST" in limited.sentence
    assert "Run kisi again" in trouble(result, "Contoso").remedy
    limited.heals()


@pytest.mark.fault(
    11,
    injection="one of two sources hangs for ever",
    outcome="the deadline for reading ends it: exit 4, the other source's clients are billed",
)
def test_a_source_that_hangs_for_ever_fails_its_clients_alone(limited: Trial):
    other, faults = Ksc(World(limited.world.now, site="second")), Faults()
    tenant = other.world.tenant("Northwind", workstations=4)
    server = other.serve(faults=faults, name="ksc-2")
    limited.sandbox.add(other.part(server, "second"))
    limited.contoso.more_tenants.append(f"second:{tenant.uid}")
    faults.add("hang", match="*", times=None, seconds=600)

    result = limited.sync()

    assert result.code == 4
    assert limited.contoso.additions == []
    assert limited.fabrikam.quantities == {limited.product: 3}
    assert (
        "need attention: Contoso (source-incomplete: Source second, main server: "
        in limited.sentence
    )
    faults.clear()
    assert limited.sync().code == 0
    assert limited.contoso.quantities == {limited.product: 6 + 4}
    assert limited.sync().writes == []


@pytest.mark.fault(
    32,
    injection="one write takes all that is left of the run's time",
    outcome="no further write is begun: exit 7, and the next run writes them",
)
def test_after_the_end_of_the_run_no_write_is_begun(
    limited: Trial, monkeypatch: pytest.MonkeyPatch
):
    limited.configure('kind = "connectwise"', 'kind = "connectwise"\nworkers = 1')
    store = Journal.settle

    def slowly(*arguments: Any, **named: Any) -> None:
        limited.operator.slept.append(100.0)
        store(*arguments, **named)

    monkeypatch.setattr(Journal, "settle", slowly)

    result = limited.sync()

    assert (result.code, len(result.writes)) == (7, 1)
    assert limited.contoso.quantities == {limited.product: 6}
    assert outcome(result, "Fabrikam") == (
        "failed",
        "not sent: this run's time was up before its turn came",
    )
    assert "need attention: Fabrikam (failed: not sent: this run's time was up" in limited.sentence
    assert limited.pending() == ()
    monkeypatch.setattr(Journal, "settle", store)
    limited.heals()


@pytest.mark.fault(
    29,
    injection="a write is to wait longer than the run lasts",
    outcome="not waited for: fails, exit 7, and the next run writes it",
)
def test_a_write_does_not_wait_beyond_the_end_of_the_run(limited: Trial):
    limited.fabrikam.mapped = False
    limited.fault("status", CREATE, code=429, headers={"Retry-After": "90"})

    result = limited.sync()

    assert (result.code, len(result.writes), limited.operator.slept) == (7, 1, [])
    assert outcome(result, "Contoso")[0] == "failed"
    limited.heals(limited.contoso)


@pytest.mark.fault(
    32,
    injection="ConnectWise is silent on reading until the run's end",
    outcome="exit 5, no write",
)
def test_a_psa_that_is_silent_until_the_end_is_not_written_to(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(setup, "RUN_SECONDS", 2.0)
    trial.fault("hang", "GET */agreements", times=None, seconds=600)

    result = trial.sync()

    assert (result.code, result.writes) == (5, [])
    assert "could not read the agreements of psa.cw" in trial.sentence
    trial.heals()
