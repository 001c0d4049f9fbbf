"""Random lives of three clients in two PSAs: usage, people, mapping and faults, in any order.

`KISI_SOAK=600` runs other lives for so many seconds (`make soak`); without it the same few lives
are run every time. A failure prints the days that lead to it.
"""

from __future__ import annotations

import os
import time
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from kisi.sandbox.ksc_records import pxg_error
from kisi.sandbox.world import APPLICATION
from tests.faults.machine import (
    CATEGORIES,
    DETECTION,
    PSAS,
    Event,
    Killed,
    Scene,
    Struck,
    Trouble,
)

SOAK = float(os.environ.get("KISI_SOAK", "0"))
COMMON: dict[str, Any] = {
    "deadline": None,
    "database": None,
    "phases": [Phase.generate],
    "print_blob": False,
    "stateful_step_count": 12,
    "suppress_health_check": list(HealthCheck),
}
BOUNDED = settings(derandomize=True, max_examples=6, **COMMON)
SOAKING = settings(max_examples=50, **COMMON)

Draw = st.SearchStrategy
Options = dict[str, Any]
CLIENT = st.integers(0, 3)
SOME = st.integers(0, 99)
LOOSE = """
[guards]
decrease_units = 1000
increase_units = 1000
create_units = 1000
run_units = 1000
adopt = "{adopt}"
drift = "{drift}"
"""


def _guards(adopt: str, drift: str) -> str:
    return LOOSE.format(adopt=adopt, drift=drift)


LOOSE_GUARDS = st.builds(
    _guards, st.sampled_from(["hold", "allow"]), st.sampled_from(["hold", "overwrite"])
)
GUARDS = st.one_of(LOOSE_GUARDS, LOOSE_GUARDS, st.just(""))


# --- what happens between two runs ----------------------------------------------------------------


def _event(name: str, **how: Draw[Any]) -> Draw[Event]:
    """A method of `Scene` and its arguments."""
    return st.tuples(st.just(name), st.fixed_dictionaries(how))


USAGE = _event(
    "use",
    client=CLIENT,
    application=st.sampled_from([APPLICATION, APPLICATION, DETECTION]),
    kind=st.sampled_from(sorted(CATEGORIES)),
    change=st.integers(-4, 6),
)
REINSTALLED = _event("reinstall", client=CLIENT, number=st.integers(1, 4))
UPGRADED = _event(
    "upgrade", client=CLIENT, kind=st.sampled_from(sorted(CATEGORIES)), number=st.integers(1, 12)
)
PEOPLE = st.one_of(
    _event("edit", line=SOME, quantity=st.integers(0, 20)),
    _event("remove", line=SOME, cancel=st.booleans()),
    _event("add", client=CLIENT, row=SOME, quantity=st.integers(0, 20)),
)
MAPPING = st.one_of(
    _event("rename", application=st.sampled_from([APPLICATION, DETECTION])),
    _event("bill_in_another_way", psa=st.sampled_from(PSAS)),
    _event("move_to_the_other_agreement", client=CLIENT),
    _event("leave_the_old_row_off", client=CLIENT),
    _event("toggle_billing", client=CLIENT),
    _event("take_the_other_product", row=SOME),
    _event("make_an_exception", client=CLIENT, what=st.sampled_from(["none", "people", "flat"])),
)
RARE = st.one_of(PEOPLE, MAPPING, _event("sleep", nights=st.integers(1, 40)))
EVENT = st.one_of(USAGE, USAGE, USAGE, USAGE, REINSTALLED, UPGRADED, RARE)

# --- what happens to a run ------------------------------------------------------------------------

NOTHING: Draw[Options] = st.just({})
CODES = st.sampled_from([400, 401, 403, 404, 409, 429, 500, 502, 503, 504])
STATUS = st.fixed_dictionaries({"code": CODES}, optional={"headers": st.just({"Retry-After": "2"})})
PXG_ERROR = st.builds(
    lambda code: {"code": 200, "body": pxg_error(code)}, st.sampled_from([1125, 1184, 1195, 1453])
)
APPLIED = st.fixed_dictionaries({"applied": st.booleans()})
UNCLEAR = st.fixed_dictionaries(
    {"code": st.sampled_from([408, 500, 502, 504]), "applied": st.booleans()}
)
BROKEN: dict[str, Draw[Options]] = {
    "status": STATUS,
    "hang": st.just({"seconds": 0.02}),
    "reset_before": NOTHING,
    "truncate": NOTHING,
    "chunk_cut": NOTHING,
    "close_cut": NOTHING,
    "html": NOTHING,
    "garbage": st.fixed_dictionaries({"compressed": st.booleans()}),
    "empty": NOTHING,
}
BROKEN_WRITE = {
    **BROKEN,
    "status": STATUS | UNCLEAR,
    "lost": NOTHING,
    "hang": st.fixed_dictionaries({"seconds": st.just(0.02), "applied": st.booleans()}),
    "garbage": APPLIED,
    "empty": APPLIED,
}
REFUSED = st.sampled_from([{"refuse": "no"}, {"fault": "no"}, {"ignore": True}])


def _fault(kinds: dict[str, Draw[Options]], *matches: str) -> Draw[Options]:
    """One fault switch: what `Faults.add` takes."""
    return st.one_of(
        st.fixed_dictionaries(
            {
                "kind": st.just(kind),
                "match": st.sampled_from(matches),
                "times": st.sampled_from([1, 2, 4, None]),
                "after": st.sampled_from([0, 0, 1, 2]),
                "options": options,
            }
        )
        for kind, options in kinds.items()
    )


ADDITIONS, CHARGES = "P* */additions*", "POST */tsiWS.asmx"
UNITS = "POST */ContractServiceAdjustments"
WRITE_FAULT = st.one_of(
    _fault(BROKEN_WRITE, ADDITIONS, ADDITIONS, CHARGES, UNITS), _fault({"twist": REFUSED}, CHARGES)
)
READ_FAULT = _fault(
    BROKEN | {"status": STATUS | PXG_ERROR}, "LicenseKeys.*", "ChunkAccessor.*", "*@Contoso"
) | _fault(BROKEN, "GET */finance/agreements", "GET */additions", "GET /api/*", "POST */query*")


READ_FAULTS = st.builds(Struck, faults=st.lists(READ_FAULT, min_size=1, max_size=2))
WRITE_FAULTS = st.builds(
    Struck, faults=st.lists(WRITE_FAULT, min_size=1, max_size=3), lag=st.integers(0, 3)
)
KILLED = st.builds(Killed, method=st.sampled_from(["intent", "settle"]), committed=st.booleans())
TROUBLE = st.one_of(st.just(Struck()), READ_FAULTS, WRITE_FAULTS, WRITE_FAULTS, KILLED)


class Lives(RuleBasedStateMachine):
    """One or two runs a step; `Scene` checks after each what must always hold."""

    scene: Scene

    @initialize(
        guards=GUARDS,
        uses=st.lists(st.integers(2, 12), min_size=8, max_size=8),
        trouble=TROUBLE,
    )
    def begin(self, guards: str, uses: list[int], trouble: Trouble) -> None:
        self.scene = Scene(guards)
        for client in range(4):
            some, more = uses[client * 2 : client * 2 + 2]
            self.scene.use(client, APPLICATION, "workstation", some)
            self.scene.use(client, APPLICATION, "server", more)
            self.scene.use(client, DETECTION, "server", more // 2)
        self.scene.run(trouble)
        self.scene.sync()

    def teardown(self) -> None:
        if hasattr(self, "scene"):
            self.scene.close()

    @rule(
        events=st.lists(EVENT, min_size=1, max_size=4),
        trouble=TROUBLE,
        accepts=st.sampled_from(["plan", "plan", "plan", "client", "yesterday", None]),
        more=TROUBLE,
    )
    def a_day(
        self, events: list[Event], trouble: Trouble, accepts: str | None, more: Trouble
    ) -> None:
        """A run and, where a person accepts what it held (or what one before it did), another."""
        self.scene.happen(events)
        self.scene.run(trouble)
        if accepts is not None:
            self.scene.run(more, "--accept", self.scene.id_of(accepts))

    @rule()
    def it_settles_down(self) -> None:
        self.scene.settles_down()


def test_random_lives() -> None:
    """Whatever happens: the old or the right quantity, one line, a true journal, and rest."""
    if not SOAK:
        run_state_machine_as_test(Lives, settings=BOUNDED)
        return
    ends = time.perf_counter() + SOAK
    while time.perf_counter() < ends:
        run_state_machine_as_test(Lives, settings=SOAKING)
