"""Days on which much changes, and fleets that one run cannot finish."""

from __future__ import annotations

import pytest

from tests.faults.conftest import Trial


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
