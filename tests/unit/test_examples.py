"""Every example is one that works, and the reference names every key there is."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import yaml
from pydantic import BaseModel

from kisi.cli.checking import check_files
from kisi.config import read_partial_config
from kisi.config.load import Announced, Counting, Guards, Notify, Top
from kisi.config.sentences import read_table
from kisi.mapping.file import ConfigNames, load_mapping
from kisi.model import Level
from kisi.run.setup import PSA_KINDS, SOURCE_KINDS
from kisi.sandbox.demo import fleet
from tests.conftest import posix_programs

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
REFERENCE = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
CONTAINER = (ROOT / ".ci" / "container").read_text(encoding="utf-8")
INSTALLED = "/usr/local/bin/kisi"


@pytest.fixture
def secrets(monkeypatch):
    """Every variable that the examples refer to, or that is a default of theirs."""
    for example in EXAMPLES.rglob("kisi.toml"):
        config = read_partial_config(example, SOURCE_KINDS, PSA_KINDS).checked()
        sections = [*config.sources.items(), *config.psa.items(), ("", config.notify)]
        for name, section in sections:
            for reference in section.secrets(name).values():
                monkeypatch.setenv(reference.partition(":")[2], "tr0ub4dor")


@pytest.mark.usefixtures("secrets")
@pytest.mark.parametrize("name", ["minimal", "everything", "reports", "large-fleet"])
def test_an_example_passes_the_offline_checks(tmp_path, name):
    folder = shutil.copytree(EXAMPLES / name, tmp_path / name)
    (folder / "klserver.cer").write_text("the server's certificate")
    findings = check_files(folder / "kisi.toml", SOURCE_KINDS, PSA_KINDS)
    assert [finding for finding in findings if finding.level is not Level.OK] == []
    told = "\n".join(finding.message for finding in findings)
    assert re.search(r", [1-9]\d* clients?, ", told)
    assert re.search(r"^[1-9]\d* secrets? found\.$", told, re.MULTILINE)


def test_everything_sets_every_key_of_the_common_tables_and_every_kind():
    data = tomllib.loads((EXAMPLES / "everything" / "kisi.toml").read_text(encoding="utf-8"))
    assert data.keys() == set(Top.model_fields)
    for table, model in (
        ("counting", Counting),
        ("guards", Guards),
        ("outlook", Announced),
        ("notify", Notify),
    ):
        assert data[table].keys() == set(model.model_fields)
        assert read_table(model, data[table], (table,), EXAMPLES)[1] == []
    assert {section["kind"] for section in data["sources"].values()} == set(SOURCE_KINDS)
    assert {section["kind"] for section in data["psa"].values()} == set(PSA_KINDS)


@pytest.mark.parametrize(
    ("table", "model"),
    [("sources", model) for model in SOURCE_KINDS.values()]
    + [("psa", model) for model in PSA_KINDS.values()],
    ids=[*SOURCE_KINDS, *PSA_KINDS],
)
def test_everything_names_every_key_of_every_kind(table, model):
    """`#key = value` is a key that is named and not in use; it must work once the # is gone."""
    text = (EXAMPLES / "everything" / "kisi.toml").read_text(encoding="utf-8")
    data = tomllib.loads(re.sub(r"(?m)^#(\w+ = )", r"\1", text))
    (kind,) = (kind for kind, one in {**SOURCE_KINDS, **PSA_KINDS}.items() if one is model)
    sections = {name: section for name, section in data[table].items() if section["kind"] == kind}
    assert set().union(*(_names(section) for section in sections.values())) == set(_keys(model))
    for name, section in sections.items():
        assert read_table(model, section, (table, name), EXAMPLES)[1] == []


def test_everything_shows_every_form_of_the_mapping():
    config = read_partial_config(
        EXAMPLES / "everything" / "kisi.toml", SOURCE_KINDS, PSA_KINDS
    ).checked()
    mapping = load_mapping(config.mapping_path, ConfigNames(config.sources, config.psa))
    assert {application.unit for application in mapping.applications} == {
        "device",
        "user",
        "mailbox",
    }
    assert {company.psa for company in mapping.companies} == set(config.psa)
    assert {company.billing for company in mapping.companies} == {True, False}
    assert {each.bill for company in mapping.companies for each in company.exceptions} == {
        True,
        False,
    }
    assert any(len(company.tenants) > 1 for company in mapping.companies)


def test_the_large_fleet_is_the_one_that_the_names_are_of():
    """Each client has the company that truly is its; tests/e2e/test_map.py makes the file anew."""
    config = read_partial_config(
        EXAMPLES / "large-fleet" / "kisi.toml", SOURCE_KINDS, PSA_KINDS
    ).checked()
    mapping = load_mapping(config.mapping_path, ConfigNames(config.sources, config.psa))
    truth = fleet(400).truth
    assert len(mapping.companies) > 350
    for company in mapping.companies:
        assert [truth[ref.tenant] for ref in company.tenants] == [int(company.company)]


def test_the_service_passes_the_credentials_that_its_configuration_names():
    service = _unit("kisi.service")["Service"]
    passed = {line.partition(":")[0] for line in service["LoadCredential"]}
    config = read_partial_config(
        EXAMPLES / "systemd" / "kisi.toml", SOURCE_KINDS, PSA_KINDS
    ).checked()
    assert _references(config) == {f"credential:{name}" for name in passed}
    assert config.state_dir == config.base / "/var/lib" / service["StateDirectory"][0]
    assert config.mapping_path.parent == config.state_dir  # where the user kisi may write
    assert service["NoNewPrivileges"] == service["ProtectHome"] == ["yes"]
    assert service["ProtectSystem"] == ["strict"]
    assert _unit("kisi.service")["Unit"]["OnFailure"] == ["kisi-failed.service"]
    assert "logger" in _unit("kisi-failed.service")["Service"]["ExecStart"][0]
    assert "SuccessExitStatus" not in service
    command = service["ExecStart"][0].split()
    assert command == [INSTALLED, "sync", "--config", "/etc/kisi/kisi.toml"]


@posix_programs
def test_by_hand_kisi_gets_what_the_service_gives_it(tmp_path):
    """`systemctl` and `systemd-run` are stood in for: the one shows the unit, the other its words."""
    unit = EXAMPLES / "systemd" / "kisi.service"
    drop_in = "LoadCredentialEncrypted=more:/etc/kisi/more.cred"
    _executable(tmp_path / "systemctl", f'cat "{unit}"; echo "{drop_in}"')
    _executable(tmp_path / "systemd-run", "printf '%s\\n' \"$@\"")
    done = subprocess.run(
        ["/bin/sh", str(EXAMPLES / "systemd" / "kisi-by-hand"), "sync", "--only", "A *"],
        env={"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    options, command = done.stdout.split("--\n")
    words = options.splitlines()
    assert command.splitlines() == [INSTALLED, "sync", "--only", "A *"]
    assert {"--wait", "--collect", "--pipe", "--pty"} <= set(words)
    assert "--setenv=KISI_CONFIG=/etc/kisi/kisi.toml" in words
    service = _unit("kisi.service")["Service"]
    same = ("User", "StateDirectory", "StateDirectoryMode", "UMask", "LoadCredential")
    given = {f"--property={key}={value}" for key in same for value in service[key]}
    assert {*given, f"--property={drop_in}"} <= set(words)


@posix_programs
def test_by_hand_says_so_if_there_is_no_service(tmp_path):
    _executable(tmp_path / "systemctl", "echo 'No files found for kisi.service.' >&2; exit 1")
    done = subprocess.run(
        ["/bin/sh", str(EXAMPLES / "systemd" / "kisi-by-hand"), "status"],
        env={"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "No files found" in done.stderr


def test_the_timer_runs_every_day_and_catches_up():
    timer = _unit("kisi.timer")["Timer"]
    assert timer["OnCalendar"] == ["*-*-* 06:30:00"]
    assert timer["Persistent"] == ["true"]


def test_the_task_runs_every_day_catches_up_and_never_overlaps():
    space = {"t": "http://schemas.microsoft.com/windows/2004/02/mit/task"}
    task = ET.fromstring((EXAMPLES / "windows" / "kisi-task.xml").read_text(encoding="utf-8"))
    settings = {
        setting.tag.partition("}")[2]: setting.text for setting in task.find("t:Settings", space)
    }
    assert settings["StartWhenAvailable"] == "true"
    assert settings["DisallowStartIfOnBatteries"] == "false"
    assert settings["ExecutionTimeLimit"] == "PT1H"
    assert settings["MultipleInstancesPolicy"] == "IgnoreNew"
    assert task.findtext(".//t:DaysInterval", namespaces=space) == "1"
    assert "PYTHONUTF8=1" in task.findtext(".//t:Arguments", namespaces=space)
    assert task.findtext(".//t:LogonType", namespaces=space) == "Password"
    (trigger,) = task.find("t:Triggers", space)  # in the sequence of Microsoft's schema
    names = [part.tag.partition("}")[2] for part in trigger]
    assert names == ["Enabled", "StartBoundary", "RandomDelay", "ScheduleByDay"]
    assert trigger.findtext("t:StartBoundary", namespaces=space).endswith("T06:30:00")


def test_what_is_scheduled_is_what_the_pages_install():
    steps = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for page in (steps, readme):
        lines = [line.partition("  ")[0] for line in page.splitlines()]
        first = lines.index("sudo python3 -m venv /opt/kisi")
        assert lines[first + 1 : first + 4] == [
            "sudo /opt/kisi/bin/pip install --require-hashes -r requirements/install.txt",
            "sudo /opt/kisi/bin/pip install --no-deps --no-build-isolation .",
            f"sudo ln -s /opt/kisi/bin/kisi {INSTALLED}",
        ]
    assert f"* * * kisi {INSTALLED} sync " in readme
    task = (EXAMPLES / "windows" / "kisi-task.xml").read_text(encoding="utf-8")
    assert "C:\\Program Files\\kisi\\Scripts\\kisi.exe" in task
    windows = (ROOT / "docs" / "windows.md").read_text(encoding="utf-8")
    assert 'py -m venv "C:\\Program Files\\kisi"\n' in windows
    for text in (readme, windows):
        assert "schtasks /Create /TN kisi /XML kisi-task.xml /RU .\\kisi /RP *" in text


def test_the_container_has_a_user_volumes_and_the_secrets_that_its_example_names():
    image = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    steps = [line.split(maxsplit=1) for line in image.splitlines() if re.match(r"[A-Z]", line)]
    last = steps[max(at for at, (word, _) in enumerate(steps) if word == "FROM") :]
    assert [rest for word, rest in last if word == "USER"] == ["10001:10001"]
    assert ["VOLUME", '["/config", "/state"]'] in last
    assert ["ENTRYPOINT", '["kisi"]'] in last
    (variables,) = [dict(re.findall(r"(\w+)=(\S+)", rest)) for word, rest in last if word == "ENV"]
    assert variables["KISI_CONFIG"] == "/config/kisi.toml"
    copied = [rest.split()[:-1] for word, rest in steps if word == "COPY" and "--" not in rest]
    kept = (ROOT / ".dockerignore").read_text(encoding="utf-8").split("*\n", 1)[1]
    for source in (name for names in copied for name in names):
        assert (ROOT / source).exists()
        assert f"!{source.partition('/')[0]}\n" in kept

    compose = yaml.safe_load((EXAMPLES / "container" / "compose.yaml").read_text(encoding="utf-8"))
    service = compose["services"]["kisi"]
    assert {place.partition(":")[2] for place in service["volumes"]} == {"/config", "/state"}
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    file = EXAMPLES / "container" / "config" / "kisi.toml"
    config = read_partial_config(file, SOURCE_KINDS, PSA_KINDS).checked()
    assert variables["CREDENTIALS_DIRECTORY"] == "/run/secrets"
    assert _references(config) == {f"credential:{name}" for name in service["secrets"]}
    assert compose["secrets"].keys() == set(service["secrets"])
    assert _references(config) == {
        f"credential:{name}"
        for name in re.findall(r"[a-z-]+", re.search(r"for name in (.*);", CONTAINER)[1])
    }


def test_the_cron_configuration_needs_no_environment():
    config = read_partial_config(EXAMPLES / "cron" / "kisi.toml", SOURCE_KINDS, PSA_KINDS).checked()
    assert all(reference.startswith("file:/etc/kisi/") for reference in _references(config))
    assert config.mapping_path.parent == config.state_dir == config.base / "/var/lib/kisi"


def test_the_cron_line_names_time_user_and_command():
    text = (EXAMPLES / "cron" / "kisi.cron").read_text(encoding="utf-8")
    (line,) = [line for line in text.splitlines() if re.match(r"\d", line)]
    assert line.split()[:8] == ["30", "6", "*", "*", "*", "kisi", INSTALLED, "sync"]
    assert "%" not in line
    assert text.endswith("\n")


@pytest.mark.parametrize(
    "model",
    [Top, Counting, Guards, Notify, *SOURCE_KINDS.values(), *PSA_KINDS.values()],
    ids=lambda model: model.__name__,
)
def test_the_reference_names_every_key(model):
    named = {*re.findall(r"`\[?(\w+)(?:\.NAME)?\]?`", REFERENCE)}
    assert set(_keys(model)) <= named


def test_the_examples_in_the_reference_are_right(tmp_path):
    blocks = re.findall(r"```toml\n(.*?)```", REFERENCE, re.DOTALL)
    config, mapping, exceptions = blocks
    (tmp_path / "kisi.toml").write_text(config, encoding="utf-8")
    (tmp_path / "mapping.toml").write_text(mapping, encoding="utf-8")
    loaded = read_partial_config(tmp_path / "kisi.toml", SOURCE_KINDS, PSA_KINDS).checked()
    assert load_mapping(loaded.mapping_path, ConfigNames(loaded.sources, loaded.psa)).companies
    applications = (EXAMPLES / "everything" / "mapping.toml").read_text(encoding="utf-8")
    (tmp_path / "mapping.toml").write_text(
        applications.partition("[[company]]")[0] + exceptions, encoding="utf-8"
    )
    both = load_mapping(tmp_path / "mapping.toml", ConfigNames(["hq", "hub"], ["cw", "tp", "at"]))
    assert len(both.companies[0].exceptions) == 2


def _names(section):
    """The keys of a section and of the tables in it."""
    for key, value in section.items():
        yield key
        if isinstance(value, dict):
            yield from _names(value)


def _keys(model):
    for key, field in model.model_fields.items():
        yield key
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _keys(field.annotation)


def _references(config):
    """Where the secrets of all sections are."""
    return {
        reference
        for name, section in (*config.sources.items(), *config.psa.items())
        for reference in section.secrets(name).values()
    }


def _executable(path, script):
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)


def _unit(name):
    """A systemd unit; keys may repeat, so values are lists."""
    units = {}
    for line in (EXAMPLES / "systemd" / name).read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            units[line.strip("[]")] = section = {}
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            section.setdefault(key, []).append(value)
    return units
