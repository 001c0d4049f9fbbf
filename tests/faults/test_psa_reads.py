"""ConnectWise cannot be read, refuses us, or holds what kisi did not expect."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kisi.sandbox.certificate import Certificate
from tests.faults.conftest import CREATE, UPDATE, Trial, outcome, trouble

Cut = Callable[[Trial], object]


def _closed(trial: Trial) -> None:
    with socket.socket() as taken:  # a port on which nobody listens once it is given back
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    trial.configure(trial.sandbox.cw_server.url, f"http://127.0.0.1:{port}")


def _nameless(trial: Trial) -> None:
    trial.configure(trial.sandbox.cw_server.url, "https://cw.invalid")


UNREACHED = {
    "refused": (_closed, "it refused the connection", "Check the address, the network"),
    "no such name": (_nameless, "its name could not be resolved", "Check the address, the network"),
}


@pytest.mark.parametrize(("cut", "words", "remedy"), UNREACHED.values(), ids=UNREACHED)
@pytest.mark.fault(
    25,
    injection="ConnectWise refuses the connection, or its name cannot be resolved",
    outcome="exit 5, no write",
)
def test_a_psa_that_is_not_reached_is_not_written_to(
    billed: Trial, cut: Cut, words: str, remedy: str
):
    cut(billed)

    result = billed.sync()

    assert (result.code, result.writes) == (5, [])
    assert "could not read the agreements of psa.cw" in billed.sentence
    assert words in billed.sentence
    assert remedy in trouble(result, "Contoso").remedy
    assert billed.contoso.quantities == {billed.product: 6}
    billed.heals()


@pytest.mark.fault(
    25,
    injection="ConnectWise has a certificate of an unknown authority",
    outcome="exit 5, nothing is sent; billed once REQUESTS_CA_BUNDLE names the authority",
)
def test_a_private_authority_is_trusted_only_if_it_is_named(
    billed: Trial, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    server = billed.sandbox.cw_server
    plain, certificate = server.url, Certificate.make(names=["127.0.0.1"])
    server.present(certificate)
    billed.configure(plain, server.url)

    result = billed.sync()

    assert (result.code, result.sent_to("connectwise")) == (5, [])
    assert f"is not trusted. Its fingerprint is {server.fingerprint}" in billed.sentence
    assert "REQUESTS_CA_BUNDLE" in trouble(result, "Contoso").remedy
    authority = tmp_path / "authority.pem"
    authority.write_text(certificate.pem, encoding="ascii")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority))
    assert billed.sync().code == 0
    assert billed.contoso.quantities == {billed.product: 8}
    assert billed.sync().writes == []


REFUSED = {
    "keys": ({"code": 401}, "401", "Check company, public_key, private_key"),
    "client id": ({"code": 403}, "403", "Check client_id"),
    "rights": (
        {"code": 403, "body": {"message": "You do not have security permission to do this."}},
        "403",
        "the right Finance > Agreements, Inquire = All",
    ),
}


@pytest.mark.parametrize(("answer", "words", "remedy"), REFUSED.values(), ids=REFUSED)
@pytest.mark.fault(26, injection="401 or 403 on reading", outcome="exit 5, no write, asked once")
def test_a_refused_read_is_not_repeated(
    billed: Trial, answer: dict[str, Any], words: str, remedy: str
):
    billed.fault("status", "GET *", times=None, **answer)

    result = billed.sync()

    assert (result.code, result.writes) == (5, [])
    assert len(result.sent_to("connectwise")) == 1
    assert f"ConnectWise answered {words}" in billed.sentence
    assert remedy in trouble(result, "Contoso").remedy
    billed.heals()


@pytest.mark.fault(
    26,
    injection="401 on the first write",
    outcome="exit 7; the remaining writes are not tried",
)
def test_refused_keys_close_the_door_for_all_further_writes(trial: Trial):
    further = [trial.operator.client(f"Further {number}", workstations=2) for number in range(4)]
    trial.configure('kind = "connectwise"', 'kind = "connectwise"\nworkers = 1')
    trial.fault("status", CREATE, times=None, code=401)

    result = trial.sync()

    assert (result.code, len(result.writes)) == (7, 1)
    assert not trial.world.lines
    assert "Check company, public_key, private_key" in outcome(result, "Contoso")[1]
    assert outcome(result, "Further 3") == (
        "failed",
        "not sent: the PSA refused our credentials",
    )
    assert trial.pending() == ()
    trial.heals(trial.contoso, trial.fabrikam, *further)


@pytest.mark.fault(
    26,
    injection="403 on a write of one client: a right is missing",
    outcome="exit 7; that line fails, the other clients are tried",
)
def test_a_missing_right_closes_no_door(billed: Trial):
    billed.fabrikam.add_devices()
    match = f"PATCH */agreements/{billed.contoso.agreement_id}/*"
    body = {"message": "You do not have security permission to perform this action."}
    billed.fault("status", match, times=None, code=403, body=body)

    result = billed.sync()

    assert (result.code, len(result.writes)) == (7, 2)
    assert "the right Finance > Agreements, Edit = All" in outcome(result, "Contoso")[1]
    assert billed.fabrikam.quantities == {billed.product: 4}
    billed.heals()


# --- somebody else works on the agreement ---------------------------------------------------------


@pytest.mark.fault(
    27,
    injection="the line is deleted between plan and write",
    outcome="that write fails, others go on, exit 7; held as `deleted` from the next run on",
)
def test_a_line_that_goes_before_its_write_is_not_made_again(billed: Trial):
    billed.fabrikam.add_devices()
    (line,) = billed.contoso.additions

    def delete() -> None:
        del billed.world.lines[line.id]

    billed.fault("call", f"{UPDATE}{line.id}", function=delete)

    result = billed.sync()

    assert result.code == 7
    assert outcome(result, "Contoso") == ("failed", f"the line {line.id} is gone; run kisi again")
    assert billed.contoso.additions == []
    assert billed.fabrikam.quantities == {billed.product: 4}
    held = billed.sync()
    assert (held.code, held.writes) == (6, [])
    assert trouble(held, "Contoso").guard == "deleted"
    billed.heals(accept=True)


@pytest.mark.fault(
    27,
    injection="the agreement is deleted between plan and write",
    outcome="that write fails, others go on, exit 7; from the next run on the client fails",
)
def test_an_agreement_that_goes_before_its_write_fails_its_client(trial: Trial):
    agreements, number = trial.world.agreements, trial.contoso.agreement_id
    gone = agreements[number]
    trial.fault("call", f"POST */{number}/additions", function=lambda: agreements.pop(number))

    result = trial.sync()

    assert result.code == 7
    assert outcome(result, "Contoso")[0] == "failed"
    assert "404" in outcome(result, "Contoso")[1]
    assert trial.fabrikam.quantities == {trial.product: 3}
    again = trial.sync()
    assert (again.code, trouble(again, "Contoso").guard) == (6, "agreement")
    assert "does not exist in ConnectWise" in trial.sentence
    agreements[number] = gone
    trial.heals()


@pytest.mark.parametrize("code", [409, 412])
@pytest.mark.fault(
    28,
    injection="409 or 412 on a write",
    outcome="read back: not written, so that line fails and the next run decides anew; exit 7",
)
def test_a_conflict_is_read_back_and_not_forced(billed: Trial, code: int):
    billed.fault("status", UPDATE, code=code)

    result = billed.sync()

    assert (result.code, len(result.writes)) == (7, 1)
    what, why = outcome(result, "Contoso")
    assert what == "failed"
    assert f"something changed since it was read. It answered {code}" in why
    assert "the next run tries again" in why
    assert billed.contoso.quantities == {billed.product: 6}
    assert billed.pending() == ()
    billed.heals()


@pytest.mark.parametrize("code", [409, 412])
@pytest.mark.fault(
    28,
    injection="409 or 412 on a write that is there already",
    outcome="read back: equal to what was wanted, so it is confirmed",
)
def test_a_conflict_over_what_is_right_already_is_no_trouble(billed: Trial, code: int):
    billed.fault("status", UPDATE, code=code, applied=True)

    result = billed.sync()

    assert (result.code, len(result.writes)) == (0, 1)
    assert outcome(result, "Contoso")[0] == "applied"
    billed.heals()


@pytest.mark.fault(
    38,
    injection="two lines of one product on an agreement",
    outcome="ambiguous: that client fails, exit 6; nothing of it is written, others are billed",
)
def test_two_lines_of_a_product_are_left_to_a_person(billed: Trial):
    billed.fabrikam.add_devices()
    second = billed.world.add_line(billed.contoso.agreement_id, billed.product, 1)

    result = billed.sync()

    assert result.code == 6
    assert trouble(result, "Contoso").guard == "ambiguous"
    assert str(second.id) in trouble(result, "Contoso").reason
    assert [line.quantity for line in billed.contoso.additions] == [6, 1]
    assert billed.fabrikam.quantities == {billed.product: 4}
    del billed.world.lines[second.id]
    billed.heals()


@pytest.mark.fault(
    39,
    injection="a person changes the quantity between two runs",
    outcome="drift holds, exit 6; `--accept` writes kisi's number",
)
def test_a_persons_number_is_kept_until_a_person_decides(billed: Trial):
    (line,) = billed.contoso.additions
    line.quantity = 7

    result = billed.sync()

    assert (result.code, result.writes) == (6, [])
    assert trouble(result, "Contoso").guard == "drift"
    assert (
        "holds 7, kisi last confirmed 6: a person changed it" in trouble(result, "Contoso").reason
    )
    billed.heals(accept=True)


@pytest.mark.fault(
    39,
    injection="a person changes the quantity while kisi's write has an unclear outcome",
    outcome="neither before nor after: unknown, exit 7; held as drift from the next run on",
)
def test_a_number_that_is_neither_old_nor_new_is_nobodys_guess(billed: Trial):
    (line,) = billed.contoso.additions

    def edit() -> None:
        line.quantity = 7

    billed.fault("call", UPDATE, function=edit)
    billed.fault("reset_before", UPDATE)

    result = billed.sync()

    assert (result.code, len(result.writes)) == (7, 1)
    assert outcome(result, "Contoso") == (
        "unknown",
        "the PSA shows 7 instead of 8; the next run holds it",
    )
    assert len(billed.pending()) == 1
    held = billed.sync()
    assert (held.code, trouble(held, "Contoso").guard) == (6, "drift")
    billed.heals(accept=True)


@pytest.mark.fault(
    39,
    injection="a person changes a line between plan and write of a clear answer",
    outcome="kisi's absolute number stands, and the PSA shows it; nothing is added up",
)
def test_a_write_is_an_absolute_number_whatever_happened_meanwhile(billed: Trial):
    (line,) = billed.contoso.additions

    def edit() -> None:
        line.quantity = 7

    billed.fault("call", UPDATE, function=edit)

    result = billed.sync()

    assert (result.code, len(result.writes)) == (0, 1)
    assert billed.contoso.quantities == {billed.product: 8}
    billed.heals()


# --- the company's other agreements ---------------------------------------------------------------


@pytest.mark.fault(
    38,
    injection="a ConnectWise agreement is never invoiced again (one time, no cycle, no next date)",
    outcome="that client fails, exit 6, its lines stay; others are billed",
)
def test_an_agreement_that_is_never_invoiced_fails_its_client(trial: Trial):
    trial.contoso.agreement.one_time = True

    result = trial.sync()

    assert (result.code, trial.contoso.additions) == (6, [])
    assert trouble(result, "Contoso").guard == "agreement"
    assert trial.fabrikam.quantities == {trial.product: 3}
    trial.contoso.agreement.one_time = False
    trial.heals()


@pytest.mark.fault(
    38,
    injection="the parent of an agreement that is not invoiced by itself cannot be read",
    outcome="that client fails, exit 5, no write for it; others are billed",
)
def test_a_child_whose_parent_cannot_be_read_is_not_billed(trial: Trial):
    child = trial.contoso.agreement
    child.parent_id = trial.world.agreement(trial.contoso.company, "Everything").id
    child.billing_cycle = child.next_invoice_date = None
    trial.fault("status", "GET */finance/agreements", times=1, after=1, code=400)

    result = trial.sync()

    assert (result.code, trial.contoso.additions) == (5, [])
    assert trouble(result, "Contoso").guard == "psa"
    assert trial.fabrikam.quantities == {trial.product: 3}
    trial.heals()


@pytest.mark.fault(
    38,
    injection="another agreement of the company bills the product of a new line already",
    outcome="held as `ambiguous`, exit 6, and no id releases it; other clients are billed",
)
def test_a_product_that_is_billed_elsewhere_is_not_billed_again(trial: Trial):
    other = trial.world.agreement(trial.contoso.company, "Old contract")
    line = trial.world.add_line(other.id, trial.product, 6)

    result = trial.sync()

    assert (result.code, len(result.writes)) == (6, 1)
    assert trouble(result, "Contoso").guard == "ambiguous"
    assert f"line {line.id} of agreement {other.id}" in trouble(result, "Contoso").remedy
    assert trial.contoso.additions == []
    assert trial.fabrikam.quantities == {trial.product: 3}
    other.cancelled = True
    trial.heals()


@pytest.mark.parametrize("what", ["agreements", "lines"])
@pytest.mark.fault(
    38,
    injection="the other agreements of a company with new lines, or their lines, cannot be read",
    outcome="exit 5; nothing is created that may be billed there already, and a note says so",
)
def test_nothing_is_created_where_nobody_knows_what_is_billed_elsewhere(trial: Trial, what: str):
    other = trial.world.agreement(trial.contoso.company, "Old contract")
    trial.world.add_line(other.id, trial.product, 6)
    if what == "agreements":
        trial.fault("status", "GET */finance/agreements", times=None, after=1, code=500)
    else:
        trial.fault("status", f"GET */agreements/{other.id}/additions", times=None, code=500)

    result = trial.sync()

    assert result.code == 5
    assert trouble(result, "Contoso").guard == "psa"
    assert trial.contoso.additions == []
    assert any("could not be read" in note for note in result.company("Contoso")["notes"])
    if what == "lines":
        assert trial.fabrikam.quantities == {trial.product: 3}
    other.cancelled = True
    trial.heals()


@pytest.mark.fault(
    29,
    injection="429 without `Retry-After` on a ConnectWise read, six times",
    outcome="waited out within the call's two minutes, then billed",
)
def test_a_rate_limit_on_a_read_is_waited_out(billed: Trial):
    fault = billed.fault("status", "GET */finance/agreements", times=6, code=429)

    result = billed.sync()

    assert (result.code, fault.fired) == (0, 6)
    assert 20 < sum(billed.operator.slept) < 120
    assert billed.contoso.quantities == {billed.product: 8}
    billed.heals()


@pytest.mark.fault(
    29,
    injection="429 on every ConnectWise read, for ever",
    outcome="exit 5 once the call's two minutes are over, no write",
)
def test_a_rate_limit_that_never_ends_is_given_up(billed: Trial):
    billed.fault("status", "GET */finance/agreements", times=None, code=429)

    result = billed.sync()

    assert (result.code, result.writes) == (5, [])
    assert sum(billed.operator.slept) <= 120
    assert "429" in billed.sentence
    billed.heals()
