"""`kisi check --record`: the systems' answers, and nothing in them that tells whose they are."""

from __future__ import annotations

import dataclasses
import json
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kisi.sandbox.world import APPLICATION as PLAIN
from tests.e2e.autotask_side import AutotaskSide
from tests.e2e.conftest import Operator
from tests.e2e.tigerpaw_side import TigerpawSide

APPLICATION = "Kaspersky Endpoint Security for Business Advanced"
NAMES = ("Contoso Müller & Söhne GmbH", "Фабрикам", "Lamna-Healthcare_Ltd")
PUBLIC = {
    "kaspersky",
    APPLICATION.casefold(),
    PLAIN.casefold(),
    "microsoft windows 11",
    "4099",
    "1000",
}
"""A vendor's names, a type of device in Security Center, a number of licences: nobody's own."""


def texts_of(value: Any, seen: set[int]) -> Iterator[str]:
    """Every text and every number of more than three digits in an object, at any depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        if value >= 1000:
            yield f"{value:g}" if isinstance(value, float) else str(value)
    elif id(value) not in seen:
        seen.add(id(value))
        if isinstance(value, dict):
            for key, each in value.items():
                if not isinstance(each, str | int | float | None):  # a field's name is no original
                    yield from texts_of(key, seen)
                yield from texts_of(each, seen)
        elif isinstance(value, list | tuple | set | frozenset):
            for each in value:
                yield from texts_of(each, seen)
        elif dataclasses.is_dataclass(value):
            for field in dataclasses.fields(value):
                yield from texts_of(getattr(value, field.name), seen)
        elif type(value).__module__.startswith("kisi.sandbox"):
            for each in vars(value).values():
                yield from texts_of(each, seen)


def forms(text: str) -> Iterator[bytes]:
    """How a text may be hidden in a file."""
    for encoding in ("utf-8", "utf-16-le", "latin-1", "cp1251"):
        try:
            raw = text.encode(encoding)
        except UnicodeEncodeError:
            continue
        yield raw.lower()
        yield b64encode(raw)[: len(raw) * 4 // 3 // 4 * 4].lower()
        yield raw.hex().encode()
    yield json.dumps(text)[1:-1].encode().lower()


LEAST = 60
"""So many texts and numbers of the world are looked for, at least."""


def recorded(operator: Operator, folder: Path) -> dict[str, bytes]:
    result = operator.run("check", "--record", str(folder))
    assert result.code in {0, 5}, result.out  # 5: a ConnectWise that has no agreement
    assert "Look through it before you send it." in " ".join(result.err.split())
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def fleet(operator: Operator) -> None:
    operator.bill_as_one(APPLICATION)
    for number, name in enumerate(NAMES, 1):
        client = operator.client(
            name, application=APPLICATION, workstations=number + 4, servers=2, ios=1
        )
        operator.world.add_line(client.agreement_id, 1201, number + 7)
    operator.sync()


def connectwise(operator: Operator) -> tuple[object, ...]:
    fleet(operator)
    return (operator.world,)


def tigerpaw(operator: Operator) -> tuple[object, ...]:
    side = TigerpawSide(operator)
    side.bill_as_one()
    for number, name in enumerate(NAMES, 1):
        side.client(name, workstations=number + 4, servers=2)
    operator.sync()
    return operator.world, side.tigerpaw


def autotask(operator: Operator) -> tuple[object, ...]:
    side = AutotaskSide(operator, "day")
    side.bill(all="Endpoint of Acme")
    for number, name in enumerate(NAMES, 1):
        side.client(name, workstations=number + 4, servers=2)
    operator.sync()
    return operator.world, side.autotask


@pytest.mark.parametrize("serve", [connectwise, tigerpaw, autotask])
def test_nothing_of_the_originals_is_left(
    operator: Operator, tmp_path: Path, serve: Callable[[Operator], tuple[object, ...]]
):
    worlds = serve(operator)

    files = recorded(operator, tmp_path / "answers")

    assert {f"{serve.__name__}-1.json", "security-center-1.json"} <= files.keys()
    seen: set[int] = set()
    originals = {text for world in worlds for text in texts_of(world, seen) if len(text) > 3}
    assert {*NAMES} <= originals
    assert len(originals) > LEAST
    config = operator.config.read_text(encoding="utf-8")
    for line in config.splitlines():
        key, _, value = line.partition("=")
        if key.strip() in {"url", "user", "company"}:
            originals.add(value.split("#")[0].strip().strip('"'))
    for secret in (operator.folder / "secrets").iterdir():
        originals.add(secret.read_text(encoding="utf-8").strip())
    left = [
        (name, text)
        for name, content in files.items()
        for text in originals
        if text.casefold() not in PUBLIC and any(x in content.lower() for x in forms(text))
    ]
    assert {text for _, text in left} == set()


def test_the_shape_and_what_vendors_define_are_kept(operator: Operator, tmp_path: Path):
    fleet(operator)

    files = recorded(operator, tmp_path / "answers")

    assert sum(map(len, files.values())) < 100_000
    center = files["security-center-1.json"].decode()
    assert APPLICATION in center
    for key in ("KLLIC_SERIAL", "KLLIC_KEY_TYPE", "KLVSRV_UID", "LicenseKeys.EnumKeys"):
        assert key in center
    answers = json.loads(files["connectwise-1.json"])["answers"]
    (agreements,) = [x for x in answers if x["request"].endswith("/finance/agreements")][:1]
    first = agreements["body"][0]
    assert first["company"]["id"] > 9_000_000
    assert first["company"]["name"].startswith("text-")


def test_stand_ins_lead_from_one_answer_to_the_other(operator: Operator, tmp_path: Path):
    fleet(operator)

    answers = json.loads(recorded(operator, tmp_path / "answers")["connectwise-1.json"])["answers"]

    agreements = {
        one["id"]
        for x in answers
        if x["request"].endswith("/finance/agreements")
        for one in x["body"]
        if isinstance(one, dict)
    }
    lines = {
        one["agreementId"]
        for x in answers
        if x["request"].endswith("/additions")
        for one in x["body"]
        if isinstance(one, dict)
    }
    assert lines
    assert lines <= agreements


def test_a_folder_that_cannot_be_made_is_said_before_anything_is_asked(
    operator: Operator, tmp_path: Path
):
    fleet(operator)
    (tmp_path / "taken").write_text("a file", encoding="utf-8")

    result = operator.run("check", "--record", str(tmp_path / "taken"))

    assert (result.code, list(result.requests)) == (8, [])
    assert "Choose another folder" in result.err


def test_without_right_files_nothing_is_asked_and_nothing_recorded(
    operator: Operator, tmp_path: Path
):
    fleet(operator)
    operator.by_hand()
    operator.config.write_text("x = 1", encoding="utf-8")

    result = operator.run("check", "--record", str(tmp_path / "answers"))

    assert (result.code, list(result.requests)) == (3, [])
    assert not (tmp_path / "answers").exists()
