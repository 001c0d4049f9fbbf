"""docs/lifecycle.md shows the arrow that the linter checks, and names classes that exist."""

import re
import tomllib
from pathlib import Path

from kisi import model

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "lifecycle.md").read_text(encoding="utf-8")


def test_the_arrow_between_the_packages_is_the_one_that_is_checked():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = (
        one for one in settings["tool"]["importlinter"]["contracts"] if one["type"] == "layers"
    )
    arrow = " → ".join(layer.replace("kisi.", "") for layer in contract["layers"])
    assert f"`{arrow}`" in " ".join(PAGE.split())


def test_every_word_in_italics_is_a_class_of_the_model():
    words = set(re.findall(r"(?<!\*)\*(\w+)\*(?!\*)", PAGE)) - {"italics"}
    assert {"Tenant", "Reading", "Hold"} <= words
    known = {name for name in vars(model) if not name.startswith("_")}
    assert {word for word in words if {word, word.removesuffix("s")}.isdisjoint(known)} == set()


def test_the_way_of_a_device_and_of_an_id_are_short_and_pass_files_that_exist():
    chapter = PAGE.partition("\n## The way of one device, and of one accepted id\n")[2]
    device, accepted = (
        re.findall(r"^\d+\. `(kisi/[\w/]+\.py)`", part, re.MULTILINE)
        for part in chapter.split("An id given with `--accept`:")
    )
    assert 10 < len(device) <= 20
    assert 4 < len(accepted) <= 8
    assert [file for file in (*device, *accepted) if not (ROOT / file).is_file()] == []
