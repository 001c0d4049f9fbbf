"""Clocks that jump, zones at the ends of the world, nights that are an hour longer or shorter."""

from __future__ import annotations

import json
import time
from datetime import UTC, date, datetime, timedelta

import pytest

from kisi.sandbox import ksc_records
from kisi.sandbox.ksc_records import EndDateType
from kisi.sandbox.world import APPLICATION, Client
from tests.faults.conftest import CREATE, UPDATE, Trial, trouble, warnings


def at(trial: Trial, instant: str) -> None:
    """It is this instant, on every clock."""
    trial.operator._clock.move_to(datetime.fromisoformat(instant).replace(tzinfo=UTC))


def jump(trial: Trial, **by: float) -> None:
    """Somebody sets the clock of this machine."""
    trial.operator._clock.shift(timedelta(**by))


def billed_from(client: Client) -> date:
    """The first day of a client's only line."""
    (line,) = client.additions
    assert line.effective_date is not None
    return line.effective_date.date()


# --- clocks ---------------------------------------------------------------------------------------


@pytest.mark.fault(
    58,
    injection="the clock jumps by an hour, a day or a year while a run is under way",
    outcome="no deadline is met early or late; billed once; runs keep their order",
)
@pytest.mark.parametrize("by", [{"hours": 1}, {"hours": -1}, {"days": -1}, {"days": 365}], ids=str)
@pytest.mark.parametrize("match", ["LicenseKeys.EnumKeys@Contoso", UPDATE])
def test_a_clock_that_jumps_changes_no_number(billed: Trial, match: str, by: dict[str, float]):
    for key in (billed.contoso.first_key, billed.fabrikam.first_key):
        assert key.subscription
    billed.fault("call", match, function=lambda: jump(billed, **by))

    result = billed.sync()

    assert result.code == 0, result.err
    assert billed.contoso.quantities == {billed.product: 8}
    assert len(result.writes) == 1
    assert billed.last_run.id == 2
    status = json.loads(billed.operator.run("status", "--json").out)
    assert [run["run"] for run in status["runs"]] == [2, 1]
    assert billed.operator.slept == []
    billed.heals()


@pytest.mark.fault(
    58,
    injection="this machine's clock is two days ahead of the server's, or behind",
    outcome="billed, with a warning that names the skew; `check --online` calls it a problem",
)
@pytest.mark.parametrize(("days", "words"), [(2, "behind"), (-2, "ahead of")])
def test_a_clock_that_is_days_off_is_a_warning(billed: Trial, days: int, words: str):
    server = billed.sandbox.ksc_server._sockets
    server.now = lambda: datetime.now(UTC) + timedelta(days=days)

    result = billed.sync()
    check = billed.operator.run("check", "--online")

    assert result.code == 0
    (warning,) = warnings(result)
    assert f"This machine's clock is 2 days {words} that of sources.hq" in warning
    assert "a key could be counted after its end, or not until it" in warning
    assert f"2 days {words}" in " ".join(check.out.split())
    assert check.code == 4
    server.now = billed.world.now
    billed.heals()


@pytest.mark.fault(
    58,
    injection="this machine's clock is a year ahead of ConnectWise's, or 200 days behind",
    outcome="exit 6, `clock`: no line is made, existing ones are written, nothing is confirmed",
)
@pytest.mark.parametrize(("days", "words"), [(-365, "365 days ahead of"), (200, "200 days behind")])
def test_a_clock_that_the_psa_contradicts_makes_no_line(billed: Trial, days: int, words: str):
    server = billed.sandbox.cw_server._sockets
    server.now = lambda: datetime.now(UTC) + timedelta(days=days)
    billed.contoso.add_devices("workstation", 1)
    new = billed.operator.client("Northwind", workstations=2)

    result = billed.sync()

    assert result.code == 6
    assert f"{words} that of psa.cw" in result.err
    assert result.holds("Northwind") == {str(billed.product): "clock"}
    assert (billed.contoso.quantities, new.quantities) == ({billed.product: 9}, {})
    assert billed.operator.run("status", "--ready").code == 6
    server.now = billed.world.now
    assert billed.sync().code == 0
    assert new.quantities == {billed.product: 2}


def servers_say(trial: Trial, servers: tuple[str, ...], **ahead: float) -> None:
    """The clocks of some servers are right, and this machine's is not."""
    for name in servers:
        server = getattr(trial.sandbox, f"{name}_server")._sockets
        server.now = lambda: datetime.now(UTC) + timedelta(**ahead)


def servers_agree(trial: Trial) -> None:
    for server in (trial.sandbox.ksc_server, trial.sandbox.cw_server):
        server._sockets.now = trial.world.now


@pytest.mark.parametrize("servers", [("ksc", "cw"), ("cw",), ("ksc",)])
@pytest.mark.parametrize("of", ["the key", "a use", "a subscription"])
@pytest.mark.fault(
    58,
    injection="this machine's clock is 30 days ahead, and a key ends in between",
    outcome="exit 6, `clock`: what the key counts is not written, other lines are; then billed",
)
def test_a_clock_that_is_ahead_ends_no_key(trial: Trial, servers: tuple[str, ...], of: str):
    ends = datetime.now(UTC) + timedelta(days=20)
    key = trial.contoso.key(kind="subscription" if of == "a subscription" else "commercial")
    trial.contoso.add_devices(n=2, key=key)
    if of == "the key":
        key.limit_date = ends
    elif of == "a subscription":
        key.end_date_type, key.end_date = EndDateType.LIMITED, ends
        key.limit_date = ends + timedelta(days=90)
    else:
        for use in key.uses:
            use.expires = ends
    assert trial.sync().code == 0
    assert trial.contoso.quantities == {trial.product: 8}
    jump(trial, days=30)
    servers_say(trial, servers, days=-30)
    trial.fabrikam.add_devices()

    result = trial.sync()

    assert result.code == 6, result.err
    assert result.holds("Contoso") == {str(trial.product): "clock"}
    assert trial.contoso.quantities == {trial.product: 8}
    assert trial.fabrikam.quantities == {trial.product: 4}
    assert "machine's clock is 30 days ahead of that of" in trouble(result, "Contoso").reason
    assert f"a key of this line ends between the two dates, on {ends.date()}" in " ".join(
        trouble(result, "Contoso").reason.split()
    )
    assert "No id releases this" in trouble(result, "Contoso").remedy
    jump(trial, days=-30)
    servers_agree(trial)
    assert (trial.sync().code, trial.contoso.quantities) == (0, {trial.product: 8})
    assert trial.fabrikam.quantities == {trial.product: 4}


@pytest.mark.parametrize("servers", [("ksc", "cw"), ("cw",), ("ksc",)])
@pytest.mark.fault(
    58,
    injection="this machine's clock is 30 days behind, and a key has ended in between",
    outcome="exit 6, `clock`: a change of what it counts is not written, other lines are",
)
def test_a_clock_that_is_behind_counts_no_ended_key(trial: Trial, servers: tuple[str, ...]):
    key = trial.contoso.key(kind="commercial", limit_date=datetime.now(UTC) + timedelta(days=20))
    trial.contoso.add_devices(n=2, key=key)
    assert trial.sync().code == 0
    servers_say(trial, servers, days=30)
    for client in (trial.contoso, trial.fabrikam):
        client.add_devices()

    result = trial.sync()

    assert result.code == 6, result.err
    assert result.holds("Contoso") == {str(trial.product): "clock"}
    assert trial.contoso.quantities == {trial.product: 8}
    assert trial.fabrikam.quantities == {trial.product: 4}
    assert "machine's clock is 30 days behind that of" in trouble(result, "Contoso").reason
    servers_agree(trial)
    jump(trial, days=30)
    assert trial.sync().code == 0
    assert trial.contoso.quantities == {trial.product: 7}


@pytest.mark.parametrize("days", [2, 40, -2, -31, -366])
@pytest.mark.parametrize("policy", ["peak", "average", "day:1"])
@pytest.mark.fault(
    58,
    injection="this machine's clock is days ahead or behind, and a line is billed by `peak`, "
    "`average` or a day",
    outcome="exit 6, `clock`, no id: such a line stays, others are written; then billed as counted",
)
def test_a_clock_that_is_wrong_turns_no_invoice_period(trial: Trial, policy: str, days: int):
    at(trial, "2026-10-20T06:00:00")
    trial.contoso.exceptions.append({"application": APPLICATION, "count": policy})
    assert trial.sync().code == 0
    at(trial, "2026-10-21T06:00:00")
    trial.contoso.add_devices(n=4)
    assert trial.sync().code == 0
    before = trial.contoso.quantities
    at(trial, "2026-10-22T06:00:00")
    jump(trial, days=days)
    servers_say(trial, ("ksc", "cw"), days=-days)
    trial.contoso.remove_devices(3)
    trial.fabrikam.add_devices()

    result = trial.sync()

    assert (result.code, trial.contoso.quantities) == (6, before)
    assert trial.fabrikam.quantities == {trial.product: 4}
    assert set(result.holds("Contoso").values()) <= {"clock"}  # none where its number is the same
    assert "--accept" not in trial.operator.run("preview").out
    jump(trial, days=-days)
    servers_agree(trial)
    assert trial.sync().code == 0
    now = {"peak": 10, "average": 8, "day:1": 6}[policy]
    assert trial.contoso.quantities == {trial.product: now}


@pytest.mark.fault(
    58,
    injection="a server does not say what time it is, or nonsense",
    outcome="billed, no warning",
)
@pytest.mark.parametrize("said", ["", "tomorrow", "Thu, 99 Foo 2026"])
def test_a_server_without_a_clock_is_believed(billed: Trial, said: str):
    wire = billed.sandbox.ksc_server._sockets.RequestHandlerClass
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire, "date_time_string", lambda *_: said)
        result = billed.sync()

    assert (result.code, warnings(result)) == (0, [])
    billed.heals()


@pytest.mark.fault(
    60,
    injection="Security Center writes instants naive, with an offset, with fractions, or as dates",
    outcome="all are read as UTC, to the second in which a key ends",
)
@pytest.mark.parametrize(
    "form", ["%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S+00:00", "%Y%m%dT%H%M%SZ"]
)
@pytest.mark.parametrize(("second", "counts"), [(-1, True), (0, False)])
def test_every_form_of_an_instant_is_utc(
    trial: Trial, monkeypatch: pytest.MonkeyPatch, form: str, second: int, counts: bool
):
    """The machine itself is in another zone."""
    ends = datetime(2026, 10, 20, 12, 0, tzinfo=UTC)
    at(trial, "2026-10-14T02:30:00")
    key = trial.contoso.key(kind="commercial", limit_date=ends)
    key.uses = trial.contoso.first_key.uses
    trial.contoso.server.keys.remove(trial.contoso.first_key)
    monkeypatch.setattr(ksc_records, "_date", lambda value: format(value, form) if value else "")
    trial.operator._clock.move_to(ends + timedelta(seconds=second), tick=False)

    with monkeypatch.context() as machine:  # undone before the clock's own zone is taken back
        machine.setenv("TZ", "Pacific/Kiritimati")
        if hasattr(time, "tzset"):  # Windows has none
            time.tzset()
        result = trial.operator.sync()

    assert result.code == 0, result.err
    assert trial.contoso.quantities == ({trial.product: 6} if counts else {})


# --- days -----------------------------------------------------------------------------------------


@pytest.mark.fault(
    59,
    injection="nights of summer time, ends of month and year, 29 February, zones from -11 to +14",
    outcome="a new line begins on the day of the billing time zone; a second run writes nothing",
)
@pytest.mark.parametrize(
    ("zone", "instant", "day"),
    [
        ("Europe/Berlin", "2026-10-25T00:30:00", "2026-10-25"),
        ("Europe/Berlin", "2026-10-25T01:30:00", "2026-10-25"),
        ("Europe/Berlin", "2027-03-28T00:59:59", "2027-03-28"),
        ("Europe/Berlin", "2027-03-28T01:00:00", "2027-03-28"),
        ("Europe/Berlin", "2026-11-30T22:59:59", "2026-11-30"),
        ("Europe/Berlin", "2026-11-30T23:00:00", "2026-12-01"),
        ("Europe/Berlin", "2026-12-31T23:00:00", "2027-01-01"),
        ("Pacific/Kiritimati", "2026-12-31T09:59:59", "2026-12-31"),
        ("Pacific/Kiritimati", "2026-12-31T10:00:00", "2027-01-01"),
        ("Pacific/Pago_Pago", "2027-01-01T10:59:59", "2026-12-31"),
        ("Pacific/Pago_Pago", "2027-01-01T11:00:00", "2027-01-01"),
        ("America/St_Johns", "2027-03-01T03:29:59", "2027-02-28"),
        ("UTC", "2028-02-29T12:00:00", "2028-02-29"),
        ("Asia/Kathmandu", "2028-02-29T18:15:00", "2028-03-01"),
    ],
)
def test_a_day_is_one_of_the_billing_zone(trial: Trial, zone: str, instant: str, day: str):
    trial.configure('timezone  = "UTC"', f'timezone = "{zone}"')
    at(trial, instant)

    assert trial.sync().code == 0

    assert billed_from(trial.contoso) == date.fromisoformat(day)
    again = trial.sync()
    assert (again.code, again.writes) == (0, [])


@pytest.mark.fault(
    59,
    injection="midnight of a month's end comes between two writes of a run",
    outcome="one day for the whole run: the one on which it began",
)
def test_a_run_over_midnight_has_one_day(trial: Trial):
    trial.configure('kind = "connectwise"', 'kind = "connectwise"\nworkers = 1')
    at(trial, "2026-10-31T23:59:50")
    trial.fault("call", CREATE, function=lambda: jump(trial, seconds=30))

    assert trial.sync().code == 0

    days = {billed_from(client) for client in (trial.contoso, trial.fabrikam)}
    assert days == {date(2026, 10, 31)}
    trial.heals()


@pytest.mark.fault(
    59,
    injection="the run of the 1st, with nothing changed, after the month was invoiced",
    outcome="writes nothing: the closed month is not touched",
)
def test_the_first_of_the_month_touches_nothing_old(trial: Trial):
    at(trial, "2026-10-31T23:00:00")
    assert trial.sync().code == 0
    for client in (trial.contoso, trial.fabrikam):
        client.agreement.invoiced_through = date(2026, 10, 31)
        client.agreement.next_invoice_date = date(2026, 12, 1)
    at(trial, "2026-11-01T00:30:00")

    result = trial.sync()

    assert (result.code, result.writes) == (0, [])
    trial.heals()


@pytest.mark.fault(
    59,
    injection="under `peak`, the invoice of the 1st is made on the 4th, and use was highest on the 2nd",
    outcome="the late invoice has the days before the 1st alone, the next one the others: each once",
)
def test_a_late_invoice_has_no_day_of_the_next_one(trial: Trial):
    client, held = trial.contoso, []
    client.exceptions.append({"application": APPLICATION, "count": "peak"})
    for day, more in (("2026-10-31", 0), ("2026-11-02", 3), ("2026-11-03", -2), ("2026-11-04", 0)):
        at(trial, f"{day}T06:00:00")
        if more > 0:
            client.add_devices(n=more)
        elif more:
            client.remove_devices(-more)
        if day == "2026-11-04":
            client.agreement.next_invoice_date = date(2026, 12, 1)
        assert trial.sync().code == 0
        held.append(sum(client.quantities.values()))
    assert [number - held[0] for number in held] == [0, 0, 0, 3]


@pytest.mark.fault(
    59,
    injection="the hour that summer time repeats has two runs at the same wall-clock time",
    outcome="two runs, one write; the evidence of each is kept under its own id",
)
def test_the_repeated_hour_has_two_runs_and_one_write(trial: Trial):
    trial.configure('timezone  = "UTC"', 'timezone = "Europe/Berlin"')
    at(trial, "2026-10-25T00:30:00")
    first = trial.sync()
    at(trial, "2026-10-25T01:30:00")
    second = trial.sync()

    assert (len(first.writes), second.writes) == (2, [])
    status = json.loads(trial.operator.run("status", "--json").out)
    assert [run["run"] for run in status["runs"]] == [2, 1]
    for run in ("1", "2"):
        told = trial.operator.run("explain", "Contoso", "--run", run, "--json")
        assert told.code == 0, told.err
