"""References are followed, all at once, and no message holds a secret."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import pytest

from kisi.config import resolve_all
from kisi.errors import ConfigError
from kisi.redaction import REDACTOR
from kisi.secrets import SecretReference, default_reference, resolve
from tests.conftest import make_private, posix_modes

SECRET = "tr0ub4dor&3 größer"


@pytest.fixture
def refused(tmp_path):
    def message(reference):
        with pytest.raises(ConfigError) as caught:
            resolve(reference, base=tmp_path)
        assert SECRET not in str(caught.value)
        return str(caught.value)

    return message


@pytest.fixture
def secret_file(tmp_path):
    def written(content=SECRET, mode=0o600, name="hq.txt"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(mode)
        make_private(path)
        return path

    return written


def test_a_variable_gives_its_value_and_is_redacted_from_then_on(monkeypatch, tmp_path):
    monkeypatch.setenv("KISI_T1", SECRET)
    assert resolve("env:KISI_T1", base=tmp_path) == SECRET
    assert SECRET not in REDACTOR.redact(f"login failed for {SECRET}")


def test_a_missing_or_empty_variable_is_named(refused, monkeypatch):
    monkeypatch.delenv("KISI_T2", raising=False)
    assert "KISI_T2 is not set" in refused("env:KISI_T2")
    monkeypatch.setenv("KISI_T2", "\n")
    assert refused("env:KISI_T2") == "The secret env:KISI_T2 is empty."


@pytest.mark.parametrize("value", ["two\nlines", "a\rb", "caf\udce9"])
def test_a_secret_is_one_line_of_text(refused, monkeypatch, value):
    monkeypatch.setenv("KISI_T3", value)
    assert refused("env:KISI_T3") == "The secret env:KISI_T3 is not one line of UTF-8 text."


@pytest.mark.parametrize("content", [SECRET, SECRET + "\n", SECRET + "\r\n", "\ufeff" + SECRET])
def test_a_file_gives_its_text_without_the_line_end_of_editors(secret_file, tmp_path, content):
    secret_file(content)
    assert resolve("file:hq.txt", base=tmp_path) == SECRET
    assert resolve(f"file:{tmp_path}/hq.txt", base=Path("/nowhere")) == SECRET


@posix_modes
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602, 0o601])
def test_a_file_that_others_can_open_is_refused_with_the_command_that_closes_it(
    secret_file, refused, mode
):
    path = secret_file(mode=mode, name="my secret")
    message = refused("file:my secret")
    assert f"(mode {mode:04o})" in message
    assert f"Run `chmod 600 '{path}'`." in message


def test_where_files_have_no_modes_none_is_judged(secret_file, tmp_path, monkeypatch):
    monkeypatch.setattr("kisi.secrets._HAS_MODES", False)
    secret_file(mode=0o644)
    assert resolve("file:hq.txt", base=tmp_path) == SECRET


def test_a_file_that_holds_no_secret_is_refused(secret_file, refused, tmp_path):
    secret_file(b"\xff\xfes\0")
    assert "is not UTF-8 text" in refused("file:hq.txt")
    secret_file(b"x" * 70_000)
    assert "too large" in refused("file:hq.txt")
    secret_file("")
    assert refused("file:hq.txt") == "The secret file:hq.txt is empty."
    assert "cannot be read" in refused("file:missing.txt")
    assert "cannot be read" in refused(f"file:{tmp_path}")


def test_the_home_folder_of_nobody_is_said(refused, monkeypatch):
    def unknown(_path):
        raise RuntimeError

    monkeypatch.setattr(Path, "expanduser", unknown)
    assert refused("file:~/x") == "There is no home folder for file:~/x."


def test_a_systemd_credential_is_read_whatever_its_mode(secret_file, tmp_path, monkeypatch):
    secret_file(mode=0o444, name="hq-password")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert resolve("credential:hq-password", base=Path("/nowhere")) == SECRET


def test_a_credential_outside_of_systemd_says_what_the_service_needs(refused, monkeypatch):
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert "LoadCredential=hq-password:PATH" in refused("credential:hq-password")


@pytest.fixture
def keyring(monkeypatch):
    """A stand-in for the package `keyring`, which the system's own entries must not reach."""
    package, errors = ModuleType("keyring"), ModuleType("keyring.errors")
    errors.KeyringError = type("KeyringError", (Exception,), {})
    stored = {("kisi/hq", "kisi"): SECRET}

    def get_password(service, user):
        if service == "locked":
            raise errors.KeyringError(SECRET)
        return stored.get((service, user))

    package.get_password = get_password
    monkeypatch.setitem(sys.modules, "keyring", package)
    monkeypatch.setitem(sys.modules, "keyring.errors", errors)


@pytest.mark.usefixtures("keyring")
def test_a_keyring_entry_is_found_by_service_and_user(tmp_path, refused):
    assert resolve("keyring:kisi/hq/kisi", base=tmp_path) == SECRET
    assert "Run `keyring set 'kisi hq' nobody`." in refused("keyring:kisi hq/nobody")
    assert "gave no keyring:locked/x (KeyringError)" in refused("keyring:locked/x")


def test_without_the_package_the_keyring_says_how_to_get_it(refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "keyring", None)
    said = refused("keyring:kisi/hq")
    assert "run `pipx inject kisi keyring`, or see docs/configuration.md#secrets" in said


@pytest.mark.parametrize(
    "text",
    [SECRET, "", "env:", "env:1A", "env:A B", "ENV:A", "file:", "credential:../x", "credential:",
     "keyring:service", "keyring:/user", "keyring:service/", "vault:x"],
)  # fmt: skip
def test_what_is_not_a_reference_is_refused_without_repeating_it(refused, text):
    assert '"env:NAME", "file:PATH"' in refused(text)


@pytest.mark.parametrize("text", ["env:KISI_A", "file:~/x y", "credential:a.b-c", "keyring:a/b/c"])
def test_a_reference_reads_back_as_it_was_written(text):
    assert str(SecretReference.parse(text)) == text


def test_the_default_variable_has_no_characters_that_shells_refuse():
    assert default_reference("hq-2", "soap_password") == "env:KISI_HQ_2_SOAP_PASSWORD"


@dataclass
class Holder:
    references: dict[str, str] = field(default_factory=dict)

    def secrets(self, name):
        return {key: value.format(name=name) for key, value in self.references.items()}


@dataclass
class Configured:
    path: Path
    sources: dict[str, Holder]
    psa: dict[str, Holder]
    notify: Holder


def test_secrets_are_resolved_by_table_name_and_field(tmp_path, monkeypatch):
    for variable in ("hq", "cw", "ping"):
        monkeypatch.setenv(variable, f"value of {variable}")
    config = Configured(
        tmp_path / "kisi.toml",
        {"hq": Holder({"password": "env:{name}"}), "hub": Holder()},
        {"cw": Holder({"public_key": "env:{name}"})},
        Holder({"healthcheck": "env:ping"}),
    )
    assert resolve_all(config) == {
        ("sources", "hq"): {"password": "value of hq"},
        ("sources", "hub"): {},
        ("psa", "cw"): {"public_key": "value of cw"},
        ("notify", ""): {"healthcheck": "value of ping"},
    }


def test_every_missing_secret_of_every_section_is_reported_at_once(tmp_path, monkeypatch):
    for variable in ("KISI_A", "KISI_B", "KISI_C"):
        monkeypatch.delenv(variable, raising=False)
    config = Configured(
        tmp_path / "kisi.toml",
        {"hq": Holder({"password": "env:KISI_A"})},
        {"cw": Holder({"public_key": "env:KISI_B", "private_key": "file:none"})},
        Holder({"webhook": "env:KISI_C"}),
    )
    with pytest.raises(ConfigError) as caught:
        resolve_all(config)
    assert [problem.partition(": The ")[0] for problem in caught.value.problems] == [
        "kisi.toml: [sources.hq] password",
        "kisi.toml: [psa.cw] public_key",
        "kisi.toml: [psa.cw] private_key",
        "kisi.toml: [notify] webhook",
    ]
    assert "KISI_C" in caught.value.problems[3]


def test_a_login_name_is_resolved_like_a_secret_and_never_masked(tmp_path, monkeypatch):
    monkeypatch.setenv("NAME", "a-login-called-kisi")
    monkeypatch.setenv("WORD", "a-password-called-kisi")
    config = Configured(
        tmp_path / "kisi.toml",
        {},
        {"tp": Holder({"soap_user": "env:NAME", "soap_password": "env:WORD"})},
        Holder(),
    )
    assert resolve_all(config)["psa", "tp"]["soap_user"] == "a-login-called-kisi"
    told = REDACTOR.redact("a-login-called-kisi and a-password-called-kisi")
    assert told == "a-login-called-kisi and ***"
