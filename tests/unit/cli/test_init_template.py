"""`kisi init` writes a file that works once it is filled in, and overwrites nothing."""

from __future__ import annotations

import re
import tomllib
from contextlib import contextmanager
from pathlib import Path

import pytest

from kisi.cli.start import template, write_template
from kisi.config import read_partial_config
from kisi.errors import ConfigError, StateError
from kisi.model import CountingRules, GuardRules
from kisi.run.setup import PSA_KINDS, SOURCE_KINDS
from tests.conftest import posix_links

TEMPLATE = template()
KINDS = [SOURCE_KINDS, PSA_KINDS]


def filled(text):
    for blank, value in (
        ('user = ""', "kisi"),
        ('company = ""', "acme"),
        ('url = ""', "https://ksc.example.com:13299"),
        ('url = ""', "https://api-eu.myconnectwise.net"),
    ):
        text = text.replace(blank, blank.replace('""', f'"{value}"'), 1)
    return text


def everything_used(text):
    return re.sub(r"^#(?=[a-z\[])", "", text, flags=re.MULTILINE)


@pytest.fixture
def load(tmp_path):
    def loaded(text):
        path = tmp_path / "kisi.toml"
        path.write_text(text, encoding="utf-8")
        return read_partial_config(path, *KINDS).checked()

    return loaded


def test_the_blanks_are_named_until_they_are_filled_in(load):
    with pytest.raises(ConfigError) as caught:
        load(TEMPLATE)
    places = [problem.split(": ")[1] for problem in caught.value.problems]
    assert places == ["[sources.hq] url", "[sources.hq] user", "[psa.cw] url", "[psa.cw] company"]


def test_filled_in_it_is_the_smallest_configuration(load):
    config = load(filled(TEMPLATE))
    assert (list(config.sources), list(config.psa)) == (["hq"], ["cw"])
    assert (config.counting, config.guards) == (CountingRules(), GuardRules())


def test_every_setting_that_is_commented_out_is_a_real_one(load):
    config = load(filled(everything_used(TEMPLATE)))
    assert (list(config.sources), list(config.psa)) == (["hq", "hub"], ["cw", "tp", "at"])
    assert (config.counting, config.guards) == (CountingRules(), GuardRules())
    assert set(config.notify.secrets()) == {"healthcheck", "webhook", "apprise, entry 1"}


def test_commented_out_references_are_the_defaults_they_stand_for(load):
    plain, used = load(filled(TEMPLATE)), load(filled(everything_used(TEMPLATE)))
    assert plain.sources["hq"].secrets("hq") == used.sources["hq"].secrets("hq")
    assert plain.psa["cw"].secrets("cw") == used.psa["cw"].secrets("cw")


def test_every_common_key_is_explained():
    data = tomllib.loads(everything_used(TEMPLATE))
    assert data["counting"].keys() == set(CountingRules.__slots__)
    assert data["guards"].keys() == set(GuardRules.__slots__)
    assert {"mapping", "state_dir", "timezone", "evidence_days"} <= data.keys()


def test_it_writes_the_template_and_says_what_to_do_next(tmp_path):
    path = tmp_path / "kisi.toml"
    steps = write_template(path)
    assert path.read_bytes() == TEMPLATE.encode()
    assert str(path) in steps
    assert "KISI_HQ_PASSWORD" in steps
    assert steps.index("kisi check") < steps.index("kisi map") < steps.index("kisi preview")


def test_nothing_is_overwritten(tmp_path):
    path = tmp_path / "kisi.toml"
    path.write_text("mine")
    with pytest.raises(ConfigError, match="does not overwrite"):
        write_template(path)
    assert path.read_text() == "mine"


@posix_links
def test_nothing_is_written_through_a_link(tmp_path):
    link = tmp_path / "link.toml"
    link.symlink_to(tmp_path / "elsewhere.toml")
    with pytest.raises(ConfigError, match="does not overwrite"):
        write_template(link)
    assert not (tmp_path / "elsewhere.toml").exists()


def test_a_folder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(ConfigError, match="there is no folder"):
        write_template(tmp_path / "etc" / "kisi.toml")


def test_a_full_disk_leaves_no_half_of_it(tmp_path, monkeypatch):
    path = tmp_path / "kisi.toml"
    really_open = Path.open

    @contextmanager
    def on_a_full_disk(self, *args, **options):
        with really_open(self, *args, **options) as file:
            yield file
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", on_a_full_disk)
    with pytest.raises(StateError, match="No space left"):
        write_template(path)
    assert not path.exists()


def test_a_folder_that_cannot_be_written_to_is_said(tmp_path):
    with pytest.raises(StateError, match="could not be written"):
        write_template(tmp_path / ("x" * 300))
