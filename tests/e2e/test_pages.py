"""What the pages of docs/ say that kisi sends is what it sends."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from kisi.sandbox.world import APPLICATION
from tests.e2e.conftest import Operator
from tests.e2e.tigerpaw_side import TigerpawSide

DOCS = Path(__file__).parents[2] / "docs"
NUMBER = re.compile(r"\d+")


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def test_security_center_gets_the_calls_of_its_page_and_as_many_as_it_says(operator: Operator):
    operator.bill_as_one()
    busy = operator.client(workstations=400)
    for device in busy.devices()[:7]:  # more lists than a session is left with at its end
        busy.key(APPLICATION, devices=[device])

    first = operator.sync().sent_to("ksc")
    operator.client("Fabrikam", workstations=400)
    second = operator.sync().sent_to("ksc")

    methods = Counter(one.path.removeprefix("/api/v1.0/") for one in first)
    listed = set(re.findall(r"`([A-Z]\w+\.[A-Z]\w+)`", page("ksc.md")))
    # What is opened last, the list of devices, is always left to the end of its session.
    assert {*methods, "ChunkAccessor.Release"} == listed
    assert "A client with one key and up to 500 devices takes 9 calls." in page("ksc.md")
    assert len(second) - len(first) == 9


def test_tigerpaw_gets_the_requests_of_its_page_and_as_many_as_it_says(operator: Operator):
    side = TigerpawSide(operator)
    side.bill_as_one()
    contoso = side.client("Contoso", workstations=3)
    first = operator.sync().sent_to("tigerpaw")
    contoso.add_devices("workstation")
    changed = operator.sync().sent_to("tigerpaw")
    unchanged = operator.sync().sent_to("tigerpaw")

    told = re.findall(r"`(GET|POST) (/api/[^`?]*)", page("tigerpaw.md"))
    listed = {f"{method} {NUMBER.sub('N', path)}" for method, path in told}
    sent = {f"{one.method} {NUMBER.sub('N', one.path)}" for one in first}
    assert sent <= listed
    assert len(unchanged) == 3
    assert len(changed) == 3 + 3
    assert len(first) == 3 + 3 + 3  # the item, the other agreements, and how many it counts then
