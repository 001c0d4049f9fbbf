"""Days on which much changes, and fleets that one run cannot finish."""

from __future__ import annotations

import pytest

from kisi.sandbox.faults import Fault
from kisi.sandbox.world import Client
from tests.faults.conftest import Trial, trouble


@pytest.mark.slow
@pytest.mark.fault(
    29,
    injection="429 with `Retry-After: 2` on the lines of one of 40 clients",
    outcome="no worker sends ConnectWise anything for two seconds; then all are billed",
)
def test_a_rate_limit_is_waited_out_by_all_workers(live: Trial):
    for number in range(40):
        live.operator.client(f"Client {number:02}", workstations=2)
    busy = live.fault("status", "GET *additions", code=429, headers={"Retry-After": "2"})
    live.fault("slow", "GET *additions", times=None, seconds=0.05)

    with live.process("sync", "--quiet") as process:
        ended = process.end()

    asked = live.sandbox.requests("connectwise")
    limited = next(one for one in asked if one.status == 429)
    gaps = [one.at - limited.at for one in asked if one.at > limited.at]
    assert busy.fired == 1
    assert len([gap for gap in gaps if gap < 1.8]) < 4  # those that were under way
    assert (ended.code, ended.err) == (0, "")
    assert all(client.additions for client in live.world.clients)


def fleet(trial: Trial, number: int) -> list[Client]:
    """So many clients more, each of which takes a minute to read; Contoso and Fabrikam are away."""
    trial.contoso.mapped = trial.fabrikam.mapped = False
    clients = [trial.operator.client(f"Client {n:02}", workstations=2) for n in range(number)]
    trial.configure('kind = "ksc"', 'kind = "ksc"\nworkers = 1')
    return clients


def billed(clients: list[Client]) -> list[str]:
    """The names of those that the PSA bills by what they use."""
    done = [one for one in clients if [x.quantity for x in one.additions] == [2]]
    return [one.company.name for one in done]


def slowly(trial: Trial, match: str, seconds: float) -> Fault:
    """From now on each such request takes its time on every clock of kisi, and no real time."""
    return trial.fault(
        "call", match, times=None, function=lambda: trial.operator.slept.append(seconds)
    )


@pytest.mark.fault(
    32,
    injection="the deadline passes while the third of six clients is read",
    outcome="the three begun are billed; the others are named (exit 4) and first in the next run",
)
def test_a_deadline_while_reading_ends_between_two_clients(trial: Trial):
    clients = fleet(trial, 6)
    names = [one.company.name for one in clients]
    slow = slowly(trial, "LicenseKeys.EnumKeys@*", 60)

    result = trial.sync("--deadline", "5m")  # 200 s to read in, of which 20 belong to those begun

    assert result.code == 4
    assert billed(clients) == names[:3]
    assert "Client 03, Client 04 and Client 05 (deadline: not begun" in trial.sentence
    assert "begins with it" in trouble(result, "Client 05").remedy
    clients[0].add_devices(n=1)
    assert trial.sync("--deadline", "5m").code == 4
    assert billed(clients) == names  # the first not yet by its third device: its turn is last now
    assert "need attention: Client 00, Client 01 and Client 02 (deadline" in trial.sentence
    trial.sandbox.faults.clear()
    assert slow.fired == 6
    assert trial.sync().code == 0
    assert [[x.quantity for x in one.additions] for one in clients] == [[3], *[[2]] * 5]


@pytest.mark.fault(
    32,
    injection="the deadline passes while the second of five agreements is written",
    outcome="both begun are billed; the others are named (exit 7) and first in the next run",
)
def test_a_deadline_while_writing_ends_between_two_clients(trial: Trial):
    clients = fleet(trial, 5)
    names = [one.company.name for one in clients]
    trial.configure('kind = "connectwise"', 'kind = "connectwise"\nworkers = 1')
    slowly(trial, "POST *additions", 140)

    result = trial.sync("--deadline", "300")

    assert (result.code, billed(clients)) == (7, names[:2])
    assert "Client 02, Client 03 and Client 04 (failed: not sent" in trial.sentence
    assert trial.pending() == ()
    clients[0].add_devices(n=1)
    trial.sandbox.log.clear()
    result = trial.sync("--deadline", "300")
    assert (result.code, billed(clients)) == (7, names[:4])
    assert [one.method for one in result.writes] == ["POST", "POST"]  # no update of the first
    trial.sandbox.faults.clear()
    assert trial.sync().code == 0
    again = trial.sync()
    assert (again.code, again.writes) == (0, [])


@pytest.mark.fault(
    32,
    injection="the deadline passes before the client is read whose id a person accepts",
    outcome="the run goes on for the others; the id is kept, and the next run writes the line",
)
def test_an_id_of_a_client_that_the_deadline_left_out_is_kept(trial: Trial):
    clients = _edited(trial)
    held = trial.sync()
    first, last = (held.company(f"Client 0{n}")["plan_id"] for n in (0, 3))
    slow = slowly(trial, "LicenseKeys.EnumKeys@*", 60)
    clients[1].additions[0].quantity = 2  # the person takes that one back

    left_out = trial.sync("--deadline", "5m", "--accept", last, "--accept", first)

    assert left_out.code == 4
    assert [x.additions[0].quantity for x in clients] == [2, 2, 1, 1, 2, 2]
    assert f"The id {last} is kept: this run could not judge Client 03. " in left_out.err
    assert left_out.company("Client 03")["failure"]["guard"] == "deadline"
    assert slow.fired == 3
    trial.sandbox.faults.clear()
    following = trial.sync()
    assert [x.additions[0].quantity for x in clients] == [2, 2, 1, 2, 2, 2]
    assert (following.code, len(following.writes)) == (6, 1)
    again = trial.sync("--accept", last)
    assert (again.code, again.writes) == (6, [])
    assert f"The id {last} was accepted before" in again.err


@pytest.mark.parametrize("whole", [False, True])
def test_an_id_kept_for_a_client_holds_only_as_long_as_its_numbers(trial: Trial, whole: bool):
    clients = _edited(trial)
    held = trial.sync()
    slowly(trial, "LicenseKeys.EnumKeys@*", 60)
    plan_id = held.document["plan_id"] if whole else held.company("Client 03")["plan_id"]
    trial.sync("--deadline", "5m", "--accept", plan_id)
    assert [x.additions[0].quantity for x in clients] == [2 if whole else 1] * 3 + [1, 2, 2]
    clients[3].add_devices()
    trial.sandbox.faults.clear()
    following = trial.sync()
    assert clients[3].additions[0].quantity == 1
    assert (following.code, following.writes) == (6, [])
    assert trouble(following, "Client 03").guard == "drift"


def test_an_id_that_a_client_left_out_had_once_is_refused(trial: Trial):
    clients = _edited(trial)
    old = trial.sync().company("Client 03")["plan_id"]
    clients[3].add_devices()
    trial.sync()
    slowly(trial, "LicenseKeys.EnumKeys@*", 60)
    clients[5].add_devices()
    refused = trial.operator.sync("--deadline", "5m", "--accept", old)
    assert (refused.code, refused.writes) == (6, [])
    assert f"The id {old} does not match the current plan. Nothing was written." in refused.err


def _edited(trial: Trial) -> list[Client]:
    """Six clients, each billed for 2; of the first four a person has changed the lines to 1."""
    clients = fleet(trial, 6)
    assert trial.sync().code == 0
    for client in clients[:4]:
        client.additions[0].quantity = 1
    return clients


def test_a_deadline_may_be_longer_than_half_an_hour(trial: Trial):
    clients = fleet(trial, 14)
    slowly(trial, "LicenseKeys.EnumKeys@*", 100)
    assert trial.sync("--deadline", "2h").code == 0
    assert len(billed(clients)) == 14


@pytest.mark.parametrize("text", ["soon", "-5", "1.5h", "99999999999999999999", "40000d"])
def test_a_deadline_that_is_no_length_of_time_is_refused(trial: Trial, text: str):
    result = trial.operator.sync("--deadline", text)
    assert result.code == 2
    assert "is not a duration such as" in result.err
    assert not trial.operator.state.exists()
