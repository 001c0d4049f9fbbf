"""The offline part of `kisi check` finds everything at once."""

from __future__ import annotations

import os

import pytest

from kisi.cli.checking import check_files
from kisi.config.load import system_zone
from kisi.config.settings import LocalPath, SecretRef, Section, ServerUrl
from kisi.model import Level
from kisi.sources.business_hub.report import HubSettings
from tests.conftest import make_private, posix_modes
from tests.owners import belongs_to, somebody


class Server(Section):
    url: ServerUrl
    password: SecretRef = None
    ca_files: tuple[LocalPath, ...] = ()
    template: LocalPath | None = None


KINDS = {"ksc": Server}
KISI = """\
state_dir = "state"
[sources.hq]
kind = "ksc"
url = "https://ksc.example.com:13299"
[psa.cw]
kind = "ksc"
url = "https://api.example.com"
"""
MAPPING = """\
[[company]]
name = "Contoso"
tenants = ["hq:A"]
company = 1
agreement = 2
"""


@pytest.fixture
def check(tmp_path, monkeypatch):
    monkeypatch.setenv("KISI_HQ_PASSWORD", "tr0ub4dor")
    monkeypatch.setenv("KISI_CW_PASSWORD", "tr0ub4dor")

    def checked(kisi=KISI, mapping=MAPPING):
        (tmp_path / "kisi.toml").write_text(kisi)
        if mapping is not None:
            (tmp_path / "mapping.toml").write_text(mapping)
        return check_files(tmp_path / "kisi.toml", KINDS, KINDS)

    return checked


def errors(findings):
    return [finding.message for finding in findings if finding.level is Level.PROBLEM]


def warnings(findings):
    return [finding for finding in findings if finding.level is Level.WARNING]


def test_files_without_a_fault_pass(check, tmp_path):
    findings = check()
    assert [finding.message for finding in findings if finding.level is not Level.OK] == []
    assert [finding.message.replace(f"{tmp_path}{os.sep}", "") for finding in findings] == [
        f"kisi.toml is valid: sources hq; PSAs cw; billing days are those of {system_zone()}. The state folder is state.",
        "mapping.toml is valid: 0 applications, 1 client, 1 with billing on.",
        "2 secrets found.",
    ]


def test_problems_of_config_mapping_secrets_and_files_come_together(check, monkeypatch, tmp_path):
    monkeypatch.delenv("KISI_CW_PASSWORD")
    kisi = KISI.replace('"https://ksc', '"http://ksc') + 'ca_files = ["missing.cer"]\n'
    kisi += "[guards]\nadopt = 1\n"
    result = check(kisi, MAPPING + 'psa = "cx"\n')
    found = "\n".join(errors(result))
    assert len(errors(result)) == 5
    assert "[guards] adopt" in found
    assert "[sources.hq] url" in found
    assert "[psa.cx]" in found
    assert "KISI_CW_PASSWORD is not set" in found
    assert f"[psa.cw] ca_files: There is no file {tmp_path / 'missing.cer'}" in found


def test_a_source_that_is_wrong_is_still_known_to_the_mapping(check):
    result = check(KISI.replace('"https://ksc', '"http://ksc'))
    assert len(errors(result)) == 1
    assert any("mapping.toml is valid: " in finding.message for finding in result)


def test_a_kisi_toml_that_cannot_be_read_is_the_only_finding(check):
    result = check("[sources")
    assert len(result) == len(errors(result)) == 1


def test_a_missing_mapping_is_a_warning_with_the_next_step(check):
    result = check(mapping=None)
    assert not errors(result)
    (warning,) = warnings(result)
    assert "nothing is billed" in warning.message
    assert "`kisi map`" in warning.remedy


def test_files_that_are_named_must_be_there(check, tmp_path):
    (tmp_path / "charges.xml").write_text("<x/>")
    assert not errors(check(KISI + 'template = "charges.xml"\n'))
    (tmp_path / "charges.xml").unlink()
    (problem,) = errors(check(KISI + 'template = "charges.xml"\n'))
    assert problem.startswith("kisi.toml: [psa.cw] template: There is no file ")


FILES = ("kisi.toml", "mapping.toml", "state/journal.db", "ca/own.cer", "secrets/key", "hub/a.csv")
EVERYTHING = (
    KISI
    + 'password = "file:secrets/key"\nca_files = ["ca/own.cer"]\n'
    + '[sources.hub]\nkind = "business-hub"\nfiles = ["hub/*.csv"]\n'
)


@pytest.fixture
def everything(check, tmp_path, monkeypatch):
    """All that a configuration can name, in folders of their own, for their owner alone."""
    monkeypatch.setitem(KINDS, "business-hub", HubSettings)
    for name in FILES:
        (tmp_path / name).parent.mkdir(mode=0o700, exist_ok=True)
        (tmp_path / name).touch(mode=0o600)
        make_private((tmp_path / name).parent)
    (tmp_path / "secrets/key").write_text("tr0ub4dor")
    assert [finding.message for finding in warnings(check(EVERYTHING))] == []
    return tmp_path


@posix_modes
@pytest.mark.parametrize("name", [one for one in FILES if one != "secrets/key"])
def test_a_file_that_everybody_can_change_is_pointed_out(everything, name):
    (everything / name).chmod(0o646)
    result = check_files(everything / "kisi.toml", KINDS, KINDS)
    (warning,) = warnings(result)
    assert not errors(result)
    assert warning.message == f"Every user of this machine can change {everything / name}."
    assert warning.remedy == f"Run `chmod o-w {everything / name}`."


@posix_modes
@pytest.mark.parametrize("name", [".", "ca", "secrets", "hub"])
def test_a_folder_in_which_everybody_can_replace_files_is_pointed_out(everything, name):
    folder = everything / name
    folder.chmod(0o703)
    (warning,) = warnings(check_files(everything / "kisi.toml", KINDS, KINDS))
    assert warning.message == f"Every user of this machine can replace the files in {folder}."
    assert warning.remedy == f"Run `chmod o-w {folder}`."
    folder.chmod(0o1777)
    assert not warnings(check_files(everything / "kisi.toml", KINDS, KINDS))
    folder.chmod(0o700)


@posix_modes
def test_the_folder_behind_a_link_counts_too(everything):
    shared = everything / "shared"
    shared.mkdir()
    (everything / "ca/own.cer").rename(shared / "own.cer")
    (everything / "ca/own.cer").symlink_to(shared / "own.cer")
    shared.chmod(0o777)
    (warning,) = warnings(check_files(everything / "kisi.toml", KINDS, KINDS))
    assert warning.message.endswith(f"replace the files in {shared}.")


@posix_modes
@pytest.mark.parametrize("name", ["secrets", "secrets/key", "ca", "ca/own.cer", "mapping.toml"])
def test_what_another_user_owns_is_a_problem_once(everything, monkeypatch, name):
    belongs_to(monkeypatch, everything / name, somebody())
    result = check_files(everything / "kisi.toml", KINDS, KINDS)
    (problem,) = errors(result)
    assert f"{everything / name} belongs to the user " in problem
    assert not warnings(result)


@posix_modes
def test_reports_and_journal_may_be_another_users(everything, monkeypatch):
    for name in ("hub", "hub/a.csv", "state/journal.db"):
        belongs_to(monkeypatch, everything / name, somebody())
    result = check_files(everything / "kisi.toml", KINDS, KINDS)
    assert not errors(result) + warnings(result)


def test_a_secret_that_is_a_common_word_is_pointed_out(check, monkeypatch):
    monkeypatch.setenv("KISI_CW_PASSWORD", "error")
    (warning,) = warnings(check())
    assert warning.message.startswith("A secret is a common word or number, or shorter than 4")


@posix_modes
@pytest.mark.parametrize("mode", [0o750, 0o701, 0o757])
def test_a_state_folder_that_others_can_get_at_is_pointed_out(everything, mode):
    (everything / "state").chmod(mode)
    (warning,) = warnings(check_files(everything / "kisi.toml", KINDS, KINDS))
    assert f"the state folder {everything / 'state'} (mode {mode:04o})" in warning.message
    assert warning.remedy == f"Run `chmod 700 {everything / 'state'}`."


def test_where_there_are_no_modes_none_are_judged(everything, monkeypatch):
    monkeypatch.setattr("kisi.cli.checking._HAS_MODES", False)
    (everything / "state").chmod(0o777)
    (everything / "kisi.toml").chmod(0o666)
    assert not warnings(check_files(everything / "kisi.toml", KINDS, KINDS))


def test_a_state_folder_that_cannot_be_used_is_an_error(check, tmp_path, monkeypatch):
    (tmp_path / "state").write_text("")
    (problem,) = errors(check())
    assert "is a file, so it can hold no journal" in problem
    (tmp_path / "state").unlink()
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    (problem,) = errors(check())
    assert problem.startswith(f"state_dir: This user cannot write to {tmp_path}")
