"""A count that could not be read completely is never a number; a missing tenant is never zero."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kisi.model import Reading
from kisi.reconcile import collect
from kisi.sandbox.ksc_records import KeyUse, pxg_error, stable_guid
from kisi.sandbox.world import Client
from tests.e2e.conftest import Operator

Break = Callable[[Operator, Client], object]


def _fault(kind: str, call: str, **options: Any) -> Break:
    """A fault that does not go away, on a call of Contoso's virtual server."""
    return lambda operator, _: operator.sandbox.faults.add(
        kind, match=f"{call}@Contoso", times=None, **options
    )


def _disable(_: Operator, contoso: Client) -> None:
    contoso.server.enabled = False


def _remove(operator: Operator, contoso: Client) -> None:
    operator.world.servers.remove(contoso.server)


def _deny(_: Operator, contoso: Client) -> None:
    contoso.server.readable = False


def _namesake(operator: Operator, contoso: Client) -> None:
    """Another virtual server of the same name answers first."""
    other = operator.world.server("Contoso")
    operator.world.servers.remove(other)
    operator.world.servers.insert(0, other)


def _foreign_devices(_: Operator, contoso: Client) -> None:
    contoso.first_key.uses += [
        KeyUse(stable_guid("elsewhere", number), f"ELSEWHERE-{number}") for number in range(3)
    ]


def _tie(operator: Operator, _: Client) -> None:
    """Its key belongs to two applications equally well."""
    first = operator.world.billing.applications[0]
    operator.world.billing.bill("Twin", keys=[first.name + "*"])
    operator.world.billing.applications[-1].products = {}


BROKEN = [
    pytest.param(
        _fault("status", "LicenseKeys.EnumKeys", code=200, body=pxg_error(1183)),
        "LicenseKeys.EnumKeys failed",
        id="error object",
    ),
    pytest.param(_fault("status", "HostGroup.FindHosts", code=500), "HTTP 500", id="server fault"),
    pytest.param(
        _fault("status", "LicenseKeys.AcquireKeyHosts", code=503), "too busy", id="always too busy"
    ),
    pytest.param(
        _fault("reset_before", "LicenseKeys.EnumKeys"), "LicenseKeys.EnumKeys", id="reset"
    ),
    pytest.param(_fault("lost", "HostGroup.FindHosts"), "HostGroup.FindHosts", id="answer lost"),
    pytest.param(
        _fault("html", "LicenseKeys.EnumKeys"), "LicenseKeys.EnumKeys", id="maintenance page"
    ),
    pytest.param(
        _fault("truncate", "ChunkAccessor.GetItemsChunk"),
        "ChunkAccessor.GetItemsChunk",
        id="truncated answer",
    ),
    pytest.param(
        _fault("garbage", "GroupSyncIterator.GetNextItems"),
        "GroupSyncIterator.GetNextItems",
        id="no JSON",
    ),
    pytest.param(
        _fault("twist", "LicenseKeys.EnumKeys", cut=1), "ended after", id="cut list of keys"
    ),
    pytest.param(
        _fault("twist", "LicenseKeys.AcquireKeyHosts", cut=1),
        "ended after 7",
        id="cut list of uses",
    ),
    pytest.param(
        _fault("twist", "HostGroup.FindHosts", cut=1),
        "of 8 devices, 7 arrived",
        id="cut list of devices",
    ),
    pytest.param(
        _fault("twist", "LicenseKeys.AcquireKeyHosts", announced=5),
        "a list of 5 rows holds 8",
        id="more rows than announced",
    ),
    pytest.param(
        _fault("twist", "LicenseKeys.AcquireKeyHosts", dies_after=0),
        "gone",
        id="iterator expires",
    ),
    pytest.param(
        _fault("twist", "Session.StartSession", server="Fabrikam"),
        "the wrong virtual server answered",
        id="wrong server answers",
    ),
    pytest.param(
        _fault("twist", "Session.StartSession", server=""),
        "the wrong virtual server answered",
        id="main server answers",
    ),
    pytest.param(
        _fault("twist", "Session.StartSession", dies_after=4),
        "the session ended",
        id="session dies twice",
    ),
    pytest.param(
        _fault("status", "Session.StartSession", code=401), "the login was refused", id="no login"
    ),
    pytest.param(_disable, "is disabled", id="disabled"),
    pytest.param(_remove, "does not exist", id="missing"),
    pytest.param(_deny, 'lacks the right "Read"', id="no rights"),
    pytest.param(_namesake, "the wrong virtual server answered", id="two of the same name"),
    pytest.param(_foreign_devices, "not among its own devices", id="devices of other servers"),
]


@pytest.mark.parametrize(("broken", "reason"), BROKEN)
def test_an_incomplete_virtual_server_leaves_its_clients_lines_alone(
    operator: Operator, broken: Break, reason: str
):
    product = operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=6)
    fabrikam = operator.client("Fabrikam", workstations=3)
    assert operator.sync().code == 0
    contoso.add_devices(n=2)
    fabrikam.add_devices()
    broken(operator, contoso)

    result = operator.sync()

    assert contoso.quantities == {product: 6}
    assert fabrikam.quantities == {product: 4}
    assert result.code == 4
    failed = result.company("Contoso")
    assert failed["status"] == "failed"
    assert reason in failed["reason"]
    assert result.last_line.startswith("1 of 2 clients up to date; need attention: Contoso (")
    assert reason in result.last_line
    assert "Fabrikam" not in result.last_line
    assert not operator.sandbox.ksc.open_iterators


FIRST = ("cut list of uses", "wrong server answers", "main server answers", "no rights", "missing")


@pytest.mark.parametrize(("broken", "reason"), [case for case in BROKEN if case.id in FIRST])
def test_an_incomplete_first_reading_creates_no_line(
    operator: Operator, broken: Break, reason: str
):
    product = operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=8)
    fabrikam = operator.client("Fabrikam", workstations=3)
    broken(operator, contoso)

    result = operator.sync()

    assert contoso.additions == []
    assert fabrikam.quantities == {product: 3}
    assert (result.code, result.company("Contoso")["status"]) == (4, "failed")
    assert reason in result.err


PASSING = {
    "server fault": _fault("status", "HostGroup.FindHosts", code=500),
    "reset": _fault("reset_before", "GroupSyncIterator.GetNextItems"),
    "answer lost": _fault("lost", "GroupSyncIterator.GetNextItems"),
    "cut list": _fault("twist", "LicenseKeys.AcquireKeyHosts", cut=1),
    "iterator expires": _fault("twist", "LicenseKeys.AcquireKeyHosts", dies_after=0),
    "session dies once": _fault("twist", "Session.StartSession", dies_after=4),
    "busy": _fault("status", "LicenseKeys.EnumKeys", code=503, headers={"Retry-After": "7"}),
}


@pytest.mark.parametrize("passing", PASSING.values(), ids=PASSING)
def test_trouble_that_passes_costs_nothing_but_time(operator: Operator, passing: Break):
    product = operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=8)
    passing(operator, contoso)
    for fault in operator.sandbox.faults.unfired:
        fault.times = 1

    result = operator.sync()

    assert operator.sandbox.faults.fired() == 1
    assert contoso.quantities == {product: 8}
    assert result.code == 0


def test_a_key_name_that_two_applications_claim_fails_the_clients_that_use_it(operator: Operator):
    product = operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=6)
    fabrikam = operator.client("Fabrikam", application="Kaspersky Other", workstations=3)
    other = operator.bill_as_one("Kaspersky Other")
    _tie(operator, contoso)

    result = operator.sync()

    assert contoso.additions == []
    assert fabrikam.quantities == {other: 3}
    assert result.code == 6
    assert "belongs equally to" in result.company("Contoso")["reason"]
    assert product not in fabrikam.quantities


def test_a_server_that_ignores_the_virtual_server_of_a_login_bills_nobody(operator: Operator):
    operator.bill_as_one()
    clients = [operator.client(name, workstations=3) for name in ("Contoso", "Fabrikam")]
    operator.sandbox.ksc.ignore_vserver_header = True

    result = operator.sync()

    assert [client.additions for client in clients] == [[], []]
    assert result.code == 4
    assert result.last_line.startswith("0 of 2 clients up to date")


def test_a_refused_login_is_tried_once_and_nobody_is_billed(operator: Operator):
    operator.bill_as_one()
    contoso = operator.client(workstations=3)
    operator.by_hand()
    (operator.folder / "secrets" / "ksc-password").write_text("wrong", encoding="utf-8")

    result = operator.sync()

    assert len(result.sent_to("ksc")) == 1
    assert operator.sandbox.ksc.account.wrong_passwords == 1
    assert contoso.additions == []
    assert result.code == 4
    assert "the login was refused" in result.err
    assert "kisi did not try again" in result.err


def test_a_session_that_cannot_be_ended_harms_nobody(operator: Operator):
    product = operator.bill_as_one()
    contoso = operator.client(workstations=3)
    operator.sandbox.faults.add("status", match="Session.EndSession", times=None, code=400)

    operator.ends_sessions = False
    assert operator.sync().code == 0

    assert contoso.quantities == {product: 3}


@pytest.mark.parametrize("reading", ["last", "more"])
def test_both_readings_of_the_end_of_a_list_give_the_same_count(operator: Operator, reading: str):
    product = operator.bill_as_one()
    contoso = operator.client(workstations=23)
    operator.sandbox.ksc.eof = reading
    operator.sandbox.ksc.max_items = 5

    assert operator.sync().code == 0

    assert contoso.quantities == {product: 23}


def test_another_certificate_than_the_pinned_one_gets_no_password(operator: Operator):
    operator.bill_as_one()
    contoso = operator.client(workstations=3)
    operator.by_hand()
    text = operator.config.read_text(encoding="utf-8")
    pinned = operator.sandbox.ksc_server.fingerprint
    operator.config.write_text(text.replace(pinned, f"sha256:{'0' * 64}"), encoding="utf-8")

    result = operator.sync()

    assert result.sent_to("ksc") == []
    assert contoso.additions == []
    assert result.code == 4
    assert pinned in result.err


def test_an_agreement_that_cannot_be_read_concerns_only_its_client(operator: Operator):
    product = operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=6)
    fabrikam = operator.client("Fabrikam", workstations=3)
    path = f"GET */agreements/{contoso.agreement_id}/additions"
    operator.sandbox.faults.add("status", match=path, times=None, code=500)

    result = operator.sync()

    assert contoso.additions == []
    assert fabrikam.quantities == {product: 3}
    assert result.code == 5
    assert "Contoso" in result.last_line


@pytest.mark.parametrize("right", ["agreements.inquire", "agreements.add"])
def test_a_missing_right_in_connectwise_is_named(operator: Operator, right: str):
    operator.bill_as_one()
    contoso = operator.client(workstations=6)
    operator.sandbox.cw.rights.discard(right)

    result = operator.sync()

    assert contoso.additions == []
    assert result.code == {"agreements.inquire": 5, "agreements.add": 7}[right]
    assert "Finance > Agreements" in result.out
    assert "permission" in result.out


def test_a_refused_login_of_connectwise_ends_with_its_exit_code(operator: Operator):
    operator.bill_as_one()
    contoso = operator.client(workstations=6)
    operator.by_hand()
    operator.sandbox.cw.private_key = "changed meanwhile"

    result = operator.sync()

    assert contoso.additions == []
    assert (result.code, result.writes) == (5, [])
    assert "Contoso" in result.last_line


def test_a_bug_in_one_clients_data_fails_it_alone_and_its_traceback_is_in_the_log(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
):
    product = operator.bill_as_one()
    contoso, fabrikam = (operator.client(one, workstations=6) for one in ("Contoso", "Fabrikam"))
    count = collect.count_tenant

    def buggy(reading: Reading, terms: Any) -> Any:
        if reading.tenant.name == "Contoso":
            raise KeyError("wstrGroupName")
        return count(reading, terms)

    monkeypatch.setattr(collect, "count_tenant", buggy)

    result = operator.sync()

    assert (contoso.additions, fabrikam.quantities) == ([], {product: 6})
    assert result.code == 4
    assert result.company("Contoso")["failure"]["guard"] == "bug"
    assert "Contoso (bug: a bug in kisi stopped the work here (KeyError: " in result.last_line
    assert "KeyError" not in result.err.replace(result.last_line, "")
    assert "Traceback" in (operator.state / "kisi.log").read_text(encoding="utf-8")


def test_of_several_troubles_the_worst_gives_the_exit_code(operator: Operator):
    product = operator.bill_as_one()
    names = ("Edited", "Unreadable", "Unwritable", "Fine")
    clients = {name: operator.client(name, workstations=20) for name in names}
    operator.sync()
    for client in clients.values():
        client.add_devices()

    clients["Edited"].additions[0].quantity = 19
    assert operator.sync("--only", "Edited").code == 6
    clients["Unreadable"].server.readable = False
    assert operator.sync("--only", "Edited", "--only", "Unreadable").code == 4
    match = f"PATCH */{clients['Unwritable'].agreement_id}/*"
    operator.sandbox.faults.add("status", match=match, times=None, code=400)
    result = operator.sync()

    assert result.code == 7
    held = {name: client.quantities[product] for name, client in clients.items()}
    assert held == {"Edited": 19, "Unreadable": 20, "Unwritable": 20, "Fine": 21}
    assert result.last_line.startswith(
        "1 of 4 clients up to date; need attention: Edited (held: drift)"
    )
