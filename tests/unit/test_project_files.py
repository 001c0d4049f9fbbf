"""What CONTRIBUTING and the lock files say is true of the repository as it is."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCKS = {
    "install": (),
    "keyring": ("keyring",),
    "notify": ("notify",),
    "dev": ("dev", "notify", "sandbox"),
}
PAGES = [ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"]


def pins(name: str) -> dict[str, str]:
    """The versions of a lock file, by normalised name."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9-]+)==([^ ;\\]+)", text, re.MULTILINE))


@pytest.mark.parametrize(("name", "extras"), LOCKS.items())
def test_a_lock_file_has_every_dependency_in_a_version_that_is_allowed(name, extras):
    wanted = [*PROJECT["build-system"]["requires"], *PROJECT["project"]["dependencies"]]
    for extra in extras:
        wanted += PROJECT["project"]["optional-dependencies"][extra]
    locked = pins(name)
    for one in map(Requirement, wanted):
        if one.name != "kisi":
            assert one.specifier.contains(locked[one.name.lower().replace("_", "-")]), one


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_file_has_hashes_and_names_no_place_to_get_it_from(name):
    text = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    for entry in re.split(r"\n(?=[a-z])", text)[1:]:
        assert "--hash=sha256:" in entry, entry
    assert "://" not in text
    assert set(re.findall(r"--\w[\w-]*", text)) == {"--hash"}


def test_development_has_the_versions_of_an_installation():
    assert pins("install").items() <= pins("keyring").items()
    assert pins("install").items() <= pins("notify").items() <= pins("dev").items()
    assert pins("install").items() <= pins("dev").items()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_points_to_is_there(page):
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:)([^)#\s]*)", text)
    named = re.findall(
        r"`((?:kisi|tests|\.ci|\.github|docs|examples|requirements)/[\w./-]*\w)`", text
    )
    missing = {link for link in links if link and not (page.parent / link).exists()}
    missing |= {path for path in named if "NAME" not in path and not (ROOT / path).exists()}
    assert missing == set()


def test_every_target_that_contributing_names_can_be_made():
    named = set(re.findall(r"\bmake ([a-z][a-z-]+)", PAGES[0].read_text(encoding="utf-8")))
    targets = re.findall(
        r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert named <= set(targets)
