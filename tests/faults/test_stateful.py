"""Random lives of three clients in two PSAs: usage, people, mapping and faults, in any order.

`KISI_SOAK=600` runs other lives for so many seconds (`make soak`); without it the same few lives
are run every time. A failure prints the steps that lead to it.
"""

from __future__ import annotations

import os
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from kisi.sandbox.ksc import pxg_error
from kisi.sandbox.world import APPLICATION
from tests.faults.machine import CATEGORIES, DETECTION, Scene

SOAK = float(os.environ.get("KISI_SOAK", "0"))
COMMON: dict[str, Any] = {
    "deadline": None,
    "database": None,
    "stateful_step_count": 25,
    "suppress_health_check": list(HealthCheck),
    "print_blob": False,
}
BOUNDED = settings(derandomize=True, max_examples=8, phases=[Phase.generate], **COMMON)
SOAKING = settings(max_examples=20, phases=[Phase.generate], **COMMON)

CLIENT = st.integers(0, 2)
LOOSE = """
[guards]
decrease_units = 1000
increase_units = 1000
create_units = 1000
run_units = 1000
adopt = "{adopt}"
drift = "{drift}"
"""
GUARDS = st.one_of(
    st.just(""),
    st.builds(
        lambda adopt, drift: LOOSE.format(adopt=adopt, drift=drift),
        st.sampled_from(["hold", "allow"]),
        st.sampled_from(["hold", "overwrite"]),
    ),
)

APPLIED = st.fixed_dictionaries({"applied": st.booleans()})
NOTHING: st.SearchStrategy[dict[str, Any]] = st.just({})
_BROKEN = {
    "status": st.fixed_dictionaries(
        {"code": st.sampled_from([400, 401, 403, 404, 409, 429, 500, 502, 503, 504])},
        optional={"applied": st.just(False), "headers": st.just({"Retry-After": "2"})},
    ),
    "hang": st.just({"seconds": 0.02}),
    "reset_before": NOTHING,
    "truncate": NOTHING,
    "chunk_cut": NOTHING,
    "close_cut": NOTHING,
    "html": NOTHING,
    "garbage": st.fixed_dictionaries({"compressed": st.booleans()}),
    "empty": NOTHING,
}
_BROKEN_WRITE = {
    **_BROKEN,
    "lost": NOTHING,
    "hang": st.fixed_dictionaries({"seconds": st.just(0.02), "applied": st.booleans()}),
    "empty": APPLIED,
    "garbage": APPLIED,
    "status": st.one_of(
        _BROKEN["status"],
        st.fixed_dictionaries(
            {"code": st.sampled_from([408, 500, 502, 504]), "applied": st.just(True)}
        ),
    ),
}
_BROKEN_KSC = {
    **_BROKEN,
    "status": st.one_of(
        _BROKEN["status"],
        st.builds(
            lambda code: {"code": 200, "body": pxg_error(code)},
            st.sampled_from([1125, 1184, 1195, 1453]),
        ),
    ),
}
_TWISTS = st.sampled_from([{"refuse": "no"}, {"fault": "no"}, {"ignore": True}])


def _faults(kinds: dict[str, Any], *matches: str) -> st.SearchStrategy[dict[str, Any]]:
    """One fault switch: what `Faults.add` takes."""
    return st.one_of(
        st.fixed_dictionaries(
            {
                "kind": st.just(kind),
                "match": st.sampled_from(matches),
                "times": st.sampled_from([1, 1, 2, 4, None]),
                "after": st.integers(0, 3),
                "options": options,
            }
        )
        for kind, options in kinds.items()
    )


FAULT = st.one_of(
    _faults(_BROKEN_KSC, "LicenseKeys.*", "ChunkAccessor.*", "HostGroup.*", "*@Contoso"),
    _faults(_BROKEN, "GET */finance/agreements", "GET */additions", "GET /api/*"),
    _faults(_BROKEN_WRITE, "POST */additions", "PATCH */additions/*", "POST */tsiWS.asmx"),
    _faults({"twist": _TWISTS}, "POST */tsiWS.asmx"),
)
WRITE_FAULT = _faults(_BROKEN_WRITE, "POST */additions", "PATCH */additions/*", "POST */tsiWS.asmx")


class Lives(RuleBasedStateMachine):
    """Everything that may happen; `Scene` checks every run."""

    scene: Scene

    @initialize(guards=GUARDS, uses=st.lists(st.integers(0, 12), min_size=6, max_size=6))
    def begin(self, guards: str, uses: list[int]) -> None:
        self.scene = Scene(guards)
        for client, (some, more) in zip(
            self.scene.clients, zip(uses[::2], uses[1::2], strict=True), strict=True
        ):
            client.use(APPLICATION, "workstation", some)
            client.use(APPLICATION, "server", more)
            client.use(DETECTION, "server", more // 2)

    def teardown(self) -> None:
        if hasattr(self, "scene"):
            self.scene.close()

    # --- between runs

    @rule(
        client=CLIENT,
        application=st.sampled_from([APPLICATION, APPLICATION, DETECTION]),
        kind=st.sampled_from(sorted(CATEGORIES)),
        change=st.integers(-4, 6),
    )
    def usage_changes(self, client: int, application: str, kind: str, change: int) -> None:
        self.scene.clients[client].use(application, kind, change)

    @rule(client=CLIENT, number=st.integers(1, 4))
    def devices_become_servers(self, client: int, number: int) -> None:
        one = self.scene.clients[client]
        number = min(number, one.uses[APPLICATION, "workstation"])
        one.use(APPLICATION, "workstation", -number)
        one.use(APPLICATION, "server", number)

    @precondition(lambda self: self.scene.lines())
    @rule(line=st.integers(0, 99), quantity=st.integers(0, 20))
    def a_person_edits(self, line: int, quantity: int) -> None:
        lines = sorted(self.scene.lines())
        self.scene.edit(lines[line % len(lines)], quantity)

    @precondition(lambda self: self.scene.lines())
    @rule(line=st.integers(0, 99), cancel=st.booleans())
    def a_person_removes(self, line: int, cancel: bool) -> None:
        lines = sorted(self.scene.lines())
        self.scene.remove(lines[line % len(lines)], cancel=cancel)

    @rule(client=CLIENT, row=st.integers(0, 9), quantity=st.integers(0, 20))
    def a_person_adds(self, client: int, row: int, quantity: int) -> None:
        one = self.scene.clients[client]
        rows = list(self.scene.rows(one))
        if rows:
            self.scene.add(one, rows[row % len(rows)][2], quantity)

    @rule(psa=st.sampled_from(["cw", "tp"]))
    def billed_in_another_way(self, psa: str) -> None:
        """By category becomes as one, and the other way round."""
        self.scene.by_category[psa] = not self.scene.by_category[psa]

    @rule(client=CLIENT)
    def another_agreement(self, client: int) -> None:
        one = self.scene.clients[client]
        one.agreement = next(other for other in one.agreements if other != one.agreement)

    @rule(client=CLIENT)
    def billing_is_toggled(self, client: int) -> None:
        one = self.scene.clients[client]
        one.billing = not one.billing

    @rule(row=st.integers(0, 99))
    def another_product(self, row: int) -> None:
        rows = sorted(self.scene.products)
        self.scene.products[rows[row % len(rows)]].reverse()

    @rule(client=CLIENT, what=st.sampled_from(["none", "people", "flat"]))
    def an_exception(self, client: int, what: str) -> None:
        one = self.scene.clients[client]
        flat = self.scene.products[one.psa, APPLICATION, "all"][1]
        product = int(flat) if one.psa == "cw" else flat
        rows = {
            "none": [],
            "people": [{"application": APPLICATION, "bill": False}],
            "flat": [{"application": APPLICATION, "all": product}],
        }
        one.exceptions = rows[what]

    @rule(nights=st.integers(1, 40))
    def nights_pass(self, nights: int) -> None:
        self.scene.operator.next_night(nights)

    # --- runs

    @rule()
    def a_good_run(self) -> None:
        self.scene.sync()

    @rule(faults=st.lists(FAULT, min_size=1, max_size=3))
    def a_run_with_faults(self, faults: list[dict[str, Any]]) -> None:
        self._struck(faults)

    @rule(faults=st.lists(WRITE_FAULT, min_size=1, max_size=3), more=st.integers(1, 6))
    def a_run_whose_writes_fail(self, faults: list[dict[str, Any]], more: int) -> None:
        for one in self.scene.clients:
            one.use(APPLICATION, "workstation", more)
        self._struck(faults)

    @rule(lag=st.integers(1, 3), faults=st.lists(WRITE_FAULT, max_size=2))
    def a_run_that_reads_late(self, lag: int, faults: list[dict[str, Any]]) -> None:
        """ConnectWise shows writes only some reads later."""
        self.scene.sandbox.cw.lag(reads=lag)
        self._struck(faults)
        self.scene.catch_up()

    @precondition(lambda self: self.scene.documents)
    @rule(
        client=st.none() | CLIENT,
        run=st.integers(1, 3),
        faults=st.lists(WRITE_FAULT, max_size=2),
    )
    def a_person_accepts(self, client: int | None, run: int, faults: list[dict[str, Any]]) -> None:
        """The id of a client or of the whole plan, of the last run or of an older one."""
        document = self.scene.documents[-run:][0]
        plan = document if client is None else document["companies"][client]
        self._struck(faults, "--accept", plan["plan_id"])

    @rule(
        method=st.sampled_from(["intent", "outcome"]),
        committed=st.booleans(),
        more=st.integers(-2, 3),
    )
    def a_run_is_killed(self, method: str, committed: bool, more: int) -> None:
        for one in self.scene.clients:
            one.use(APPLICATION, "server", more)
        self.scene.crash(method, committed=committed)

    @rule()
    def it_settles_down(self) -> None:
        self.scene.settles_down()

    def _struck(self, faults: list[dict[str, Any]], *arguments: str) -> None:
        for fault in faults:
            switch = {name: fault[name] for name in ("match", "times", "after")}
            self.scene.sandbox.faults.add(fault["kind"], **switch, **fault["options"])
        self.scene.operator.ends_sessions = not faults
        self.scene.sync(*arguments)
        self.scene.calm()
        self.scene.operator.ends_sessions = True


def test_random_lives() -> None:
    """Whatever happens: the old or the right quantity, one line, a true journal, and rest."""
    if not SOAK:
        run_state_machine_as_test(Lives, settings=BOUNDED)
        return
    ends = time.perf_counter() + SOAK
    while time.perf_counter() < ends:
        run_state_machine_as_test(Lives, settings=SOAKING)
