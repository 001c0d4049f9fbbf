"""kisi.toml: values, defaults, and every problem at once."""

from __future__ import annotations

import doctest
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, model_validator

from kisi import secrets
from kisi.config import read_partial_config, sentences
from kisi.config.load import Counting, Guards
from kisi.config.settings import (
    Hours,
    LocalPath,
    SecretRef,
    Section,
    ServerUrl,
    Text,
    Workers,
)
from kisi.errors import ConfigError, ExitCode
from kisi.model import CountingRules, GuardRules
from kisi.sources.ksc import Fingerprint
from tests.conftest import posix_time_zone

PIN = "sha256:" + "0" * 64


class Server(Section):
    """Shaped like `[sources.hq]`."""

    url: ServerUrl
    user: Text
    password: SecretRef = None
    internal_user: bool = True
    ca_files: tuple[LocalPath, ...] = ()
    fingerprints: tuple[Fingerprint, ...] = ()
    workers: Workers = 4


class Columns(BaseModel):
    model_config = ConfigDict(extra="forbid")
    company: str = "company"
    quantity: str = "quantity"


class Reports(Section):
    """Shaped like `[sources.hub]`: a nested table, and a rule over two keys."""

    files: tuple[LocalPath, ...] = Field(min_length=1)
    max_age_hours: Hours = 72
    columns: Columns | None = None


class Billing(Section):
    """Shaped like `[psa.tp]`: secrets that only one mode needs."""

    url: ServerUrl
    public_key: SecretRef = None
    soap_password: SecretRef = None
    write: Literal["report", "soap"] = "report"

    def secrets(self, name):
        needed = super().secrets(name)
        return needed if self.write == "soap" else {"public_key": needed["public_key"]}


SOURCES = {"ksc": Server, "business-hub": Reports}
PSAS = {"tigerpaw": Billing}

HQ = '[sources.hq]\nkind = "ksc"\nurl = "https://ksc.example.com:13299/"\nuser = "kisi"\n'
TP = '[psa.tp]\nkind = "tigerpaw"\nurl = "https://api.yourhost.example"\n'


@pytest.fixture
def load(tmp_path):
    def loaded(text):
        path = tmp_path / "kisi.toml"
        path.write_text(text, encoding="utf-8")
        return read_partial_config(path, SOURCES, PSAS).checked()

    return loaded


@pytest.fixture
def problems(load):
    def found(text):
        with pytest.raises(ConfigError) as caught:
            load(text)
        assert caught.value.exit_code is ExitCode.CONFIG
        return [problem.removeprefix("kisi.toml: ") for problem in caught.value.problems]

    return found


def test_the_smallest_file_has_every_default(load, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "states"))
    config = load(HQ + TP)
    assert config.path == tmp_path / "kisi.toml"
    assert config.base == tmp_path
    assert config.mapping_path == tmp_path / "mapping.toml"
    assert config.state_dir.name == "kisi"
    assert config.evidence_days == 400
    assert (config.counting, config.guards) == (CountingRules(), GuardRules())
    assert config.notify.secrets() == {}
    assert config.sources["hq"] == Server(
        kind="ksc", url="https://ksc.example.com:13299", user="kisi"
    )
    assert list(config.psa) == ["tp"]


def test_defaults_of_the_file_are_those_of_the_model():
    assert CountingRules(**Counting().model_dump()) == CountingRules()
    assert GuardRules(**Guards().model_dump()) == GuardRules()


def test_every_key_can_be_set(load, tmp_path):
    config = load(
        'mapping = "m/clients.toml"\nstate_dir = "/var/lib/kisi"\ntimezone = "Pacific/Kiritimati"\n'
        "evidence_days = 30\n"
        + HQ
        + 'password = "file:hq.txt"\ninternal_user = false\nca_files = ["klserver.cer", "/c.pem"]\n'
        f'fingerprints = ["SHA256:{":".join(["AB"] * 32)}"]\nworkers = 16\n'
        '[sources.hub]\nkind = "business-hub"\nfiles = ["exports/*.csv"]\nmax_age_hours = 1\n'
        '[sources.hub.columns]\ncompany = "Firma"\n'
        + TP
        + "[counting]\noem = true\nunseen_days = 60\n"
        'unknown_device = "hold"\n[guards]\nrun_units = 5\ndrift = "overwrite"\n'
        '[notify]\nhealthcheck = "env:KISI_PING_URL"\n'
    )
    hq, hub = config.sources["hq"], config.sources["hub"]
    assert config.mapping_path == tmp_path / "m" / "clients.toml"
    assert config.state_dir == tmp_path / "/var/lib/kisi"  # on the same drive
    assert config.timezone == ZoneInfo("Pacific/Kiritimati")
    assert config.evidence_days == 30
    assert hq.secrets("hq") == {"password": "file:hq.txt"}
    assert hq.ca_files == (tmp_path / "klserver.cer", tmp_path / "/c.pem")
    assert hq.fingerprints == ("sha256:" + "ab" * 32,)
    assert (hq.internal_user, hq.workers) == (False, 16)
    assert hub.files == (tmp_path / "exports/*.csv",)
    assert hub.columns.company == "Firma"
    assert config.counting == CountingRules(oem=True, unseen_days=60, unknown_device="hold")
    assert config.guards == GuardRules(run_units=5, drift="overwrite")
    assert config.notify.secrets() == {"healthcheck": "env:KISI_PING_URL"}


def test_a_secret_left_out_is_the_variable_of_its_section_and_key(load):
    config = load((HQ + TP).replace("[psa.tp]", '[psa.tp-eu]\nwrite = "soap"'))
    assert config.sources["hq"].secrets("hq") == {"password": "env:KISI_HQ_PASSWORD"}
    assert config.psa["tp-eu"].secrets("tp-eu") == {
        "public_key": "env:KISI_TP_EU_PUBLIC_KEY",
        "soap_password": "env:KISI_TP_EU_SOAP_PASSWORD",
    }


def test_a_section_says_which_secrets_it_needs(load):
    assert set(load(HQ + TP).psa["tp"].secrets("tp")) == {"public_key"}


def test_a_source_and_a_psa_may_share_a_name(load):
    config = load((HQ + TP).replace(".tp]", ".hq]"))
    assert list(config.sources) == list(config.psa) == ["hq"]


def test_all_problems_are_found_at_once_with_file_table_and_key(problems):
    assert problems(
        'timezone = "Europe/Berln"\nevidence_days = 0\ncounting = 1\n'
        '[sources.hq]\nkind = "ksc"\nurl = "http://ksc.example.com"\nworkers = true\nusr = "kisi"\n'
        '[sources.hub]\nkind = "business-hub"\nfiles = []\n[sources.hub.columns]\ncompny = "x"\n'
        '[psa.tp]\nkind = "tigerpow"\n[guards]\nadopt = "yes"\nrun_units = -1\n'
    ) == [
        'timezone: There is no time zone "Europe/Berln"; did you mean "Europe/Berlin"?',
        "evidence_days: This must be at least 1.",
        "counting: This must be a table, not a whole number.",
        "[guards] run_units: This must be at least 0.",
        '[guards] adopt: This must be "hold" or "allow".',
        '[sources.hq] usr: Unknown key; did you mean "user"?',
        (
            "[sources.hq] url: The address must begin with https://, because passwords are sent "
            "there (http:// only on a loopback address, such as 127.0.0.1)."
        ),
        "[sources.hq] user: This key is missing.",
        "[sources.hq] workers: This must be a whole number, not true or false.",
        '[sources.hub.columns] compny: Unknown key; did you mean "company"?',
        "[sources.hub] files: This list is empty.",
        '[psa.tp] kind: Unknown kind "tigerpow"; did you mean "tigerpaw"?',
    ]


def test_days_that_devices_were_not_seen_for_may_be_none_and_not_fewer(load, problems):
    assert load(HQ + TP + "[counting]\nunseen_days = 0\n").counting == CountingRules()
    assert problems(HQ + TP + "[counting]\nunseen_days = -1\n") == [
        "[counting] unseen_days: This must be at least 0."
    ]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("workers = 4.0", "workers: This must be a whole number, not a decimal number."),
        ('workers = "4"', "workers: This must be a whole number, not text."),
        ("workers = -1", "workers: This must be at least 1."),
        ("workers = 17", "workers: This must be at most 16."),
        ('internal_user = "yes"', "internal_user: This must be true or false, without quotes, not text."),
        ("internal_user = 1", "internal_user: This must be true or false, without quotes, not a whole number."),
        ("ca_files = 'a'", "ca_files: This must be a list in [brackets], not text."),
        ("ca_files = [7]", "ca_files, entry 1: This must be text in quotes, not a whole number."),
        ("ca_files = ['']", "ca_files, entry 1: This is not a path."),
        (f"fingerprints = ['{PIN}', 7]", "fingerprints, entry 2: This must be text in quotes, not a whole number."),
        ("fingerprints = ['sha256:...']", "fingerprints, entry 1: This is not a fingerprint: write"),
        ("[sources.hq.tls]\nx = 1", "tls: Unknown key; use one of"),
        ("colour = 1979-05-27", "colour: This is a date or time; put text in quotes."),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named_by_key_and_type(problems, line, problem):
    assert any(
        found.startswith(f"[sources.hq] {problem}") for found in problems(HQ + line + "\n" + TP)
    )


@pytest.mark.parametrize(
    "number", ["inf", "nan", "true", '"1"', "0", "1e9", "9e300", "1" + "0" * 400]
)
def test_a_number_outside_its_limits_is_refused(problems, number):
    hub = f'[sources.hub]\nkind = "business-hub"\nfiles = ["a.csv"]\nmax_age_hours = {number}\n'
    (problem,) = problems(hub + TP)
    assert problem.startswith("[sources.hub] max_age_hours: This must be ")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ksc.example.com",
        "ftp://ksc.example.com",
        "https://",
        "https://ksc.example.com:port",
        "https://[::1",
        "https://user:s3cretpass@ksc.example.com",
        "https://ksc.example.com?key=s3cretpass",
        "https://ksc.example.com/a b",
        "http://192.0.2.7",
        "http://127.0.0.1.example.com",
    ],
)
def test_an_address_that_secrets_must_not_be_sent_to_is_refused(problems, url):
    (problem,) = problems(HQ.replace("https://ksc.example.com:13299/", url) + TP)
    assert problem.startswith("[sources.hq] url: ")
    assert "s3cretpass" not in problem


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080", "http://localhost", "http://[::1]:1"])
def test_plain_http_is_for_this_machine_only(load, url):
    assert load(HQ.replace("https://ksc.example.com:13299", url) + TP).sources["hq"].url == url


@pytest.mark.parametrize(
    "value", ['"hunter2!"', '"abc:hunter2!"', '"env:hunter2!"', '"file:"', '""', "20261122", "[1]"]
)
def test_a_secret_written_as_a_value_is_refused_and_never_shown(problems, value):
    (problem,) = problems(HQ + f"password = {value}\n" + TP)
    assert problem == (
        "[sources.hq] password: A secret is given by reference, never by value: write "
        '"env:NAME", "file:PATH", "credential:NAME" or "keyring:SERVICE/USER". '
        "Leave the key out to use KISI_HQ_PASSWORD."
    )


def test_an_address_to_notify_is_a_secret_without_a_default(problems):
    (problem,) = problems(HQ + TP + '[notify]\nwebhook = "https://hooks.example.com/s3cret"\n')
    assert problem.startswith("[notify] webhook: A secret is given by reference")
    assert problem.endswith('"keyring:SERVICE/USER".')


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["[sources.NAME]: There is none", "[psa.NAME]: There is none"]),
        (TP + '[sources]\nkind = "ksc"\n', ["[sources] kind: Each of these needs a name of its own"]),
        (TP + "sources = 1\n", ["[sources.NAME]: There is none", "[psa.tp] sources: Unknown key"]),
        ("sources = 1\n" + TP, ["sources: This must be a table", "[sources.NAME]: There is none"]),
        (TP + '[sources.hq]\nuser = "x"\n', ["[sources.hq] kind: This key is missing; use one of"]),
        (TP + "[sources.hq]\nkind = 1\n", ["[sources.hq] kind: This must be text in quotes; use"]),
        (TP + HQ.replace("hq", '"h q"'), ["[sources.h q]: The name may hold letters"]),
        (HQ + TP + "[gaurds]\n", ['gaurds: Unknown key; did you mean "guards"?']),
    ],
)  # fmt: skip
def test_sections_need_a_kind_and_a_name(problems, text, expected):
    found = problems(text)
    assert len(found) == len(expected)
    assert all(problem.startswith(start) for problem, start in zip(found, expected, strict=True))


def test_a_home_folder_that_is_not_known_is_said(problems, monkeypatch):
    def expanduser(path):
        if str(path).startswith("~"):
            raise RuntimeError("Could not determine home directory.")
        return path

    monkeypatch.setattr(Path, "expanduser", expanduser)
    assert problems('state_dir = "~/state"\n' + HQ + TP) == [
        "state_dir: There is no home folder that ~ could stand for; write it out."
    ]


def test_paths_know_the_home_folder(load, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    assert load('state_dir = "~/state"\n' + HQ + TP).state_dir == tmp_path / "home" / "state"


@posix_time_zone
def test_the_default_time_zone_is_the_systems_with_its_summer_time(load, monkeypatch):
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    try:
        zone = load(HQ + TP).timezone
        summer, winter = (datetime(2026, month, 1, 12, tzinfo=UTC) for month in (7, 1))
        assert summer.astimezone(zone).isoformat() == "2026-07-01T14:00:00+02:00"
        assert winter.astimezone(zone).isoformat() == "2026-01-01T13:00:00+01:00"
        assert (summer.astimezone(zone).tzname(), winter.astimezone(zone).tzname()) == (
            "CEST",
            "CET",
        )
        twice = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
        for hour in (twice, twice + timedelta(hours=1)):
            assert hour.astimezone(zone).hour == 2
            assert hour.astimezone(zone).astimezone(UTC) == hour
        assert (zone.utcoffset(None), zone.dst(None), zone.tzname(None)) == (None, None, None)
        assert str(zone) == "the system's time zone"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_an_unknown_time_zone_without_a_near_name_shows_the_form(problems):
    (problem,) = problems('timezone = "/etc/passwd"\n' + HQ + TP)
    assert problem.endswith('write a name such as "Europe/Berlin".')


def test_errors_of_a_settings_class_itself_are_sentences(tmp_path):
    class Strict(Server):
        user: str = Field(max_length=2)

        @model_validator(mode="after")
        def _refuse(self):
            raise ValueError("domain is for domain users")

    path = tmp_path / "kisi.toml"
    found = []
    for text in (HQ + TP, (HQ + TP).replace('"kisi"', '"me"')):
        path.write_text(text)
        with pytest.raises(ConfigError) as caught:
            read_partial_config(path, {"ksc": Strict}, PSAS).checked()
        found += caught.value.problems
    assert found == [
        "kisi.toml: [sources.hq] user: String should have at most 2 characters.",
        "kisi.toml: [sources.hq]: Domain is for domain users.",
    ]


def test_an_example_is_shown_for_a_missing_key_that_has_one(problems):
    found = problems(HQ.replace('url = "https://ksc.example.com:13299/"\n', "") + TP)
    assert found == [
        '[sources.hq] url: This key is missing. For example: url = "https://server.example.com"'
    ]


KEYS = st.sampled_from(["sources", "psa", "counting", "guards", "notify", "timezone", "mapping", "hq",
                        "kind", "url", "user", "password", "workers", "oem", "adopt", "webhook"])  # fmt: skip
VALUES = st.recursive(
    st.sampled_from(["ksc", "tigerpaw", "https://a", "env:A", "", 1, -1, 2.5, True])
    | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=20,
)


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(KEYS, VALUES, max_size=6))
def test_whatever_a_file_holds_it_is_a_configuration_or_a_list_of_problems(load, data):
    try:
        found = load(tomli_w.dumps(data))
    except ConfigError as error:
        found = error.problems
    if isinstance(found, tuple):
        assert found
        assert all(problem.startswith("kisi.toml: ") for problem in found)
    else:
        assert found.sources.keys() | found.psa.keys()


@pytest.mark.parametrize("module", [sentences, secrets], ids=lambda module: module.__name__)
def test_examples_in_docstrings_are_right(module):
    results = doctest.testmod(module)
    assert results.attempted
    assert not results.failed


def test_a_zone_of_the_environment_alone_is_pointed_out(monkeypatch, tmp_path):
    monkeypatch.setenv("TZ", "America/New_York")
    path = tmp_path / "kisi.toml"
    for text, expected in (("", 1), ('timezone = "Europe/Berlin"\n', 0)):
        path.write_text(f'{text}state_dir = "s"\n' + HQ + TP)
        found = read_partial_config(path, SOURCES, PSAS).surprises
        assert len(found) == expected
    path.write_text('state_dir = "s"\n' + HQ + TP)
    (one,) = read_partial_config(path, SOURCES, PSAS).surprises
    assert one.message.startswith("TZ=America/New_York in the environment decides")
    assert 'timezone = "Europe/Berlin"' in one.remedy


_COLUMNS = '[invoices.nord.columns]\ncustomer = "Kunde"\nquantity = "Menge"\n'


def test_an_invoice_needs_its_headings_alone(load):
    columns = load(HQ + TP + _COLUMNS + 'name = "Artikel"\n').invoices["nord"].columns
    assert (columns.customer, columns.name, columns.article) == ("Kunde", "Artikel", "")
    assert load(HQ + TP).invoices == {}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (_COLUMNS, "columns: Name the column of the article's number (article) or name (name)."),
        ('[invoices.nord]\ndelimiter = ";"\n', "columns: This key is missing."),
        (_COLUMNS + 'name = "A"\nprize = "P"\n', "prize: Unknown key; did you mean"),
        ('[invoices.nord]\nencoding = "cp99999"\n' + _COLUMNS + 'name = "A"\n', "is no encoding"),
        ('[invoices.nord]\nencoding = "base64"\n' + _COLUMNS + 'name = "A"\n', "is no encoding"),
        ('[invoices.nord]\ndecimal = ";"\n' + _COLUMNS + 'name = "A"\n', "decimal: This must be"),
        (
            '[invoices.nord]\ndecimal = "."\nthousands = "."\n' + _COLUMNS + 'name = "A"\n',
            "[invoices.nord]: Decimal and thousands must not be the same sign.",
        ),
        ("[invoices]\nnord = 1\n", "[invoices] nord: Each of these needs a name of its own"),
        ('[invoices."b ll"]\n' + _COLUMNS.replace("nord", '"b ll"'), "The name may hold letters"),
    ],
)
def test_what_an_invoice_must_not_say(problems, text, problem):
    assert problem in problems(HQ + TP + text)[0]
