"""Lists without an end, and files that are none: each is given up at once, and in words."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from kisi.sandbox.business_hub import BusinessHub
from kisi.sandbox.connectwise_lists import Gateway
from tests.e2e.conftest import Operator
from tests.e2e.tigerpaw_side import submits
from tests.faults.conftest import Trial, calls, limits, trouble
from tests.faults.test_tigerpaw import Ledger

posix = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no such pipes on Windows")

# --- lists without an end -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cap", "words"),
    [
        ({"rows": 2000}, "it has more than 2,000 rows"),
        ({"list_bytes": 300_000}, "it has more than 0.286102 MiB"),
    ],
    ids=["rows", "bytes"],
)
@pytest.mark.fault(
    14,
    injection="a `Link` in ConnectWise's lists never ends, and each page has new records",
    outcome="given up at the cap of rows or bytes, in words: exit 5, nothing of it is used",
)
def test_each_cap_of_a_list_is_named(trial: Trial, cap: dict[str, Any], words: str):
    assert trial.sync().code == 0
    trial.contoso.add_devices(n=2)
    trial.sandbox.cw.gateway = Gateway(endless=True)

    with limits(**cap):
        result = trial.sync()

    assert (result.code, result.writes) == (5, [])
    failed = trouble(result, "Contoso")
    assert f"did not arrive whole: {words}. None of them was used." in failed.reason
    assert "makes up pages" in failed.remedy
    assert len(result.sent_to("connectwise")) < 12
    trial.sandbox.cw.gateway = Gateway()
    trial.heals()


@pytest.mark.fault(
    14,
    injection="a gateway makes pages of one record each, with a `Link` that never ends",
    outcome="given up at the cap of 1,000 pages: exit 5",
)
def test_pages_of_one_record_are_counted(trial: Trial):
    assert trial.sync().code == 0
    trial.contoso.add_devices(n=2)
    trial.sandbox.cw.gateway = Gateway(endless=True, page_cap=1)

    with limits(pages=30):
        result = trial.sync()

    assert (result.code, result.writes) == (5, [])
    assert "it has more than 30 pages" in trouble(result, "Contoso").reason
    trial.sandbox.cw.gateway = Gateway()
    trial.heals()


@pytest.mark.parametrize(
    "opener", ["LicenseKeys.EnumKeys", "LicenseKeys.AcquireKeyHosts", "HostGroup.FindHosts"]
)
@pytest.mark.fault(
    14,
    injection="Security Center announces a list of three million rows",
    outcome="not read at all: that client fails, exit 4, and the others are billed",
)
def test_a_list_of_millions_is_not_begun(billed: Trial, opener: str):
    billed.fabrikam.add_devices(n=1)
    billed.fault("twist", f"{opener}@Contoso", times=None, announced=3_000_000)

    result = billed.sync()

    assert result.code == 4
    failed = trouble(result, "Contoso")
    assert "a list was not read to its end: it has more than 100,000 rows" in failed.reason
    assert "See in the console what is listed there" in failed.remedy
    assert billed.contoso.quantities == {billed.product: 6}
    assert billed.fabrikam.quantities == {billed.product: 4}
    assert calls(result, opener) == 2  # of each client once: none is opened again
    billed.heals()


@pytest.mark.parametrize(
    ("cap", "words"), [({"rows": 7}, "more than 7 rows"), ({"list_bytes": 1400}, "MiB")]
)
@pytest.mark.fault(
    14,
    injection="a tenant's uses of keys are more than the cap in rows or bytes",
    outcome="that client fails, exit 4, and the others are billed",
)
def test_a_tenant_beyond_the_cap_fails_alone(billed: Trial, cap: dict[str, Any], words: str):
    with limits(**cap):
        result = billed.sync()

    assert (result.code, result.writes) == (4, [])
    assert words in trouble(result, "Contoso").reason
    assert result.company("Fabrikam")["status"] == "ready"
    billed.heals()


@pytest.mark.fault(
    14,
    injection="an answer of 7 MiB that is 2 million empty values, which would take 30 times that",
    outcome="its values are counted, and it is not parsed: that client fails, exit 4",
)
def test_an_answer_of_tiny_values_is_not_parsed(billed: Trial):
    body = b"[" + b"{}," * 2_300_000 + b"{}]"
    billed.fault("status", "LicenseKeys.EnumKeys@Contoso", times=None, code=200, body=body)
    with limits(attempts=1):
        result = billed.sync()

    assert (result.code, result.writes) == (4, [])
    assert "more than 500,000 values and was not read" in trouble(result, "Contoso").reason
    billed.heals()


@pytest.mark.fault(
    14,
    injection="Tigerpaw gives an agreement a list of more charges than the cap",
    outcome="that client fails, exit 5; nothing is submitted",
)
def test_charges_without_an_end_are_no_list(operator: Operator):
    ledger = Ledger(operator, first=False)
    for number in range(10):
        ledger.side.tigerpaw.charge(ledger.client.agreement, f"BACKUP-{number}", 5, price=9.0)

    with limits(rows=10):
        result = ledger.sync()

    assert (result.code, submits(result)) == (5, [])
    assert "without an end: it has more than 10 rows" in trouble(result, "Northwind").reason
    assert ledger.client.charge(ledger.item).quantity == 6
    assert (ledger.sync().code, ledger.client.charge(ledger.item).quantity) == (0, 8)


@pytest.mark.fault(
    14,
    injection="a report of Business Hub has more rows than the cap",
    outcome="the source fails and says which line is too much: exit 4, nothing written",
)
def test_a_report_beyond_the_cap_is_no_report(operator: Operator):
    product = operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=1)
    contoso.more_tenants.append("hub:Contoso Ltd")
    hub = BusinessHub(operator.world.now)
    hub.add_devices("Contoso Ltd", "Kaspersky Endpoint Security Cloud", workstations=4)
    operator.sandbox.add(hub.part())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kisi.sources.business_hub.report.MOST_ROWS", 3)
        result = operator.sync()

    assert (result.code, contoso.quantities) == (4, {})
    assert "line 5: it has more than 3 rows" in trouble(result, "Contoso").reason
    assert operator.sync().code == 6  # nothing bills that application
    assert contoso.quantities == {product: 1}


# --- a list that a gateway cuts -------------------------------------------------------------------


@pytest.mark.parametrize("size", [25, 50])
@pytest.mark.fault(
    66,
    injection="a gateway serves 25 or 50 records a page and strips `Link`; behind them is a "
    "second line of the same product, which a person made",
    outcome="a page as long as that is not taken for the last: `ambiguous`, exit 6, nothing written",
)
def test_a_round_page_without_a_link_is_not_the_last(trial: Trial, size: int):
    assert trial.sync().code == 0
    backup = trial.world.product("BACKUP")
    for _ in range(size - 1):
        trial.world.add_line(trial.contoso.agreement_id, backup.id, 1)
    theirs = trial.world.add_line(trial.contoso.agreement_id, trial.product, 6)
    trial.contoso.add_devices(n=2)
    trial.sandbox.cw.gateway = Gateway(page_cap=size, strips_link=True)

    result = trial.sync()

    assert (result.code, result.writes) == (6, [])
    failed = trouble(result, "Contoso")
    assert (failed.guard, f"{theirs.id} (6" in failed.reason) == ("ambiguous", True)
    del trial.world.lines[theirs.id]
    quiet = trial.sync()
    assert quiet.code == 0
    assert [
        line.quantity for line in trial.contoso.additions if line.product_id == trial.product
    ] == [8]


# --- files that are none --------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["secret", "certificate", "mapping", "config"])
@pytest.mark.fault(
    52,
    injection="a secret, a pinned certificate, kisi.toml or mapping.toml is a pipe, without an end",
    outcome="refused at once and by name, exit 3; nothing is sent",
)
@posix
def test_a_pipe_is_no_file(billed: Trial, tmp_path: Path, what: str):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    billed.operator.by_hand()
    config = billed.operator.config
    path = pipe
    if what in {"config", "mapping"}:
        path = config if what == "config" else config.with_name("mapping.toml")
        path.unlink()
        os.mkfifo(path)
    elif what == "secret":
        billed.configure('"file:secrets/ksc-password"', f'"file:{pipe}"')
    else:
        billed.configure("fingerprints =", f'ca_files = ["{pipe}"]\nfingerprints =')
    began = time.monotonic()

    result = billed.operator.run_bare("sync", "--json", "--config", str(config))

    assert (result.code, list(result.requests)) == (3, []), result.err
    assert "not a regular file" in result.err or "a pipe or a device, not a file" in result.err
    assert time.monotonic() - began < 30
    path.unlink()
    billed.heals()
