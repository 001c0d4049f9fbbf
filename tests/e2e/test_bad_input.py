"""Whatever is wrong with the files: one clear message with file and key, and nothing is sent."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from kisi.lock import run_lock
from kisi.sandbox.world import APPLICATION
from tests.conftest import posix_modes
from tests.e2e.conftest import Operator, Result

Edit = Callable[[str], str]


@pytest.fixture
def files(operator: Operator) -> Operator:
    """An operator whose files are right, until a test spoils them."""
    operator.bill_as_one()
    operator.client("Contoso", workstations=3)
    operator.client("Fabrikam", workstations=2)
    operator.by_hand()
    return operator


def _add(text: str) -> Edit:
    return lambda before: f"{before}\n{text}\n"


def _top(text: str) -> Edit:
    return lambda before: f"{text}\n{before}"


def _swap(old: str, new: str) -> Edit:
    def edit(before: str) -> str:
        after = re.sub(old, new, before, count=1, flags=re.MULTILINE)
        assert after != before, old
        return after

    return edit


def _spoil(operator: Operator, name: str, edit: Edit) -> None:
    path = operator.folder / name
    path.write_text(edit(path.read_text(encoding="utf-8")), encoding="utf-8")


def _refused(operator: Operator, *arguments: str) -> Result:
    """A run that ends at once with exit code 3: nothing was sent, nothing was made."""
    result = operator.run(*(arguments or ("sync",)))
    assert result.code == 3
    assert operator.sandbox.log == []
    assert not operator.state.exists()
    assert result.out == ""
    for secret in (operator.sandbox.ksc.account.password, operator.sandbox.cw.private_key):
        assert secret not in result.err
    return result


URL = r'^url = "https://.*"$'

CONFIG: dict[str, tuple[Edit, list[str]]] = {
    "half written": (_add("[psa.tp"), ["line ", "not closed"]),
    "text not closed": (_swap(r'^user = "kisi"$', 'user = "kisi'), ["line 10", "quote"]),
    "no value": (_top("evidence_days ="), ["line 1"]),
    "a table twice": (_add('[psa.cw]\nkind = "connectwise"'), ["line ", "[psa.cw]"]),
    "a key twice": (_top('timezone = "UTC"'), ["line 6", '"timezone"']),
    "unknown key": (_top("evidence_day = 3"), ["evidence_day", 'did you mean "evidence_days"?']),
    "unknown table": (_add("[guard]"), ["guard", 'did you mean "guards"?']),
    "unknown key of a source": (
        _swap("^user =", "usr ="),
        ["[sources.hq] usr", 'did you mean "user"?', "[sources.hq] user", "missing"],
    ),
    "unknown guard": (
        _add("[guards]\nadoption = 'hold'"),
        ["[guards] adoption", 'did you mean "adopt"?'],
    ),
    "unknown counting rule": (_add("[counting]\nOEM = true"), ["[counting] OEM", '"oem"?']),
    "text for a number": (_top('evidence_days = "400"'), ["evidence_days", "whole number", "text"]),
    "number for text": (_swap('^user = "kisi"', "user = 1"), ["[sources.hq] user", "text"]),
    "decimal for a whole number": (
        _swap("^user =", "workers = 1.5\nuser ="),
        ["[sources.hq] workers", "whole number"],
    ),
    "boolean for a number": (
        _add("[guards]\ndecrease_units = true"),
        ["[guards] decrease_units", "number"],
    ),
    "text for a boolean": (
        _swap("^internal_user = true", 'internal_user = "yes"'),
        ["[sources.hq] internal_user", "true or false"],
    ),
    "text for a list": (
        _swap(r"^fingerprints = \[(.*)\]", r"fingerprints = \1"),
        ["[sources.hq] fingerprints", "list"],
    ),
    "a number that is too small": (
        _swap("^user =", "workers = 0\nuser ="),
        ["[sources.hq] workers", "at least 1"],
    ),
    "a negative guard": (_add("[guards]\nrun_units = -1"), ["[guards] run_units", "at least 0"]),
    "no such choice": (_add('[guards]\nadopt = "maybe"'), ["[guards] adopt", '"hold"', '"allow"']),
    "no such class": (
        _add('[counting]\nunknown_device = "server"'),
        ["[counting] unknown_device", "windows_servers"],
    ),
    "no such time zone": (
        _swap('^timezone  = "UTC"', 'timezone = "Europe/Berln"'),
        ["timezone", "Europe/Berln"],
    ),
    "no such kind": (
        _swap('kind = "ksc"', 'kind = "kcs"'),
        ["[sources.hq] kind", '"kcs"', 'did you mean "ksc"?'],
    ),
    "no kind": (_swap('^kind = "ksc"$', ""), ["[sources.hq] kind", "missing"]),
    "no address": (_swap(URL, ""), ["[sources.hq] url", "missing"]),
    "no address at all": (_swap(URL, 'url = "ksc"'), ["[sources.hq] url", "not the address"]),
    "http to a foreign KSC": (
        _swap(URL, 'url = "http://ksc.example.com:13299"'),
        ["[sources.hq] url", "https://"],
    ),
    "http to a foreign PSA": (
        _swap(r'^url = "http://.*"$', 'url = "http://api-eu.myconnectwise.net"'),
        ["[psa.cw] url", "https://"],
    ),
    "a password in an address": (
        _swap(URL, 'url = "https://kisi:hunter2@ksc.example.com"'),
        ["[sources.hq] url", "no password"],
    ),
    "a secret by value": (
        _swap('^password = ".*"$', 'password = "hunter2"'),
        ["[sources.hq] password", "by reference", "env:NAME"],
    ),
    "a broken fingerprint": (
        _swap("sha256:", "sha1:"),
        ["[sources.hq] fingerprints", "entry 1", "64 hexadecimal digits"],
    ),
    "no source": (lambda text: text.replace("[sources.hq]", "[psa.other]"), ["[sources.NAME]"]),
    "not UTF-8": (lambda text: text + "# \udcfc", ["line ", "UTF-8"]),
}


@pytest.mark.parametrize(("edit", "words"), CONFIG.values(), ids=CONFIG)
def test_a_wrong_kisi_toml_is_named_with_its_key(files: Operator, edit: Edit, words: list[str]):
    text = edit(files.config.read_text(encoding="utf-8"))
    files.config.write_bytes(text.encode("utf-8", "surrogateescape"))

    result = _refused(files)

    problem = next(line for line in result.err.splitlines() if words[0] in line)
    assert "kisi.toml: " in problem
    assert [word for word in words if word not in result.err] == []
    assert "hunter2" not in result.err


MAPPING: dict[str, tuple[Edit, list[str]]] = {
    "half written": (_add("[[company]"), ["line "]),
    "unknown table": (_add("[[companies]]\nname = 'x'"), ["companies", 'did you mean "company"?']),
    "single brackets": (
        lambda text: "[application]\nname = 'x'\n" + text.partition("[[company]]")[0][:0],
        ["[[application]]", "double brackets"],
    ),
    "unknown key": (
        _swap("^agreement =", "agreements ="),
        ['[[company]] "Contoso"', "agreements", 'did you mean "agreement"?'],
    ),
    "no agreement": (_swap("^agreement = .*$", ""), ['"Contoso"', "agreement", "missing"]),
    "a boolean as an id": (_swap("^company = .*$", "company = true"), ['"Contoso"', "company"]),
    "a decimal as an id": (_swap("^company = .*$", "company = 250.0"), ['"Contoso"', "company"]),
    "a decimal as a product": (_swap("^all = .*$", "all = 1.5"), ["[[product]]", "all"]),
    "text for the toggle": (
        _swap("^agreement =", 'billing = "no"\nagreement ='),
        ['"Contoso"', "billing", "true or false"],
    ),
    "one agreement in two rows": (
        _swap("^agreement = 1043$", "agreement = 1042"),
        ['"Fabrikam"', "agreement", "Contoso"],
    ),
    "one tenant in two rows": (
        lambda text: re.sub(r"tenants = .*", 'tenants = ["hq:VSRVx"]', text),
        ['"Fabrikam"', "tenants", "hq:VSRVx", "Contoso"],
    ),
    "a tenant without a source": (
        _swap(r'tenants = \["hq:', 'tenants = ["'),
        ['"Contoso"', "tenants", "SOURCE:TENANT"],
    ),
    "an unknown source": (
        _swap(r'tenants = \["hq:', 'tenants = ["qh:'),
        ['"Contoso"', "tenants", "[sources.qh]", '"hq"'],
    ),
    "an unknown PSA": (
        _swap('^psa = "cw"\ncompany', 'psa = "wc"\ncompany'),
        ['"Contoso"', "psa", "[psa.wc]", '"cw"'],
    ),
    "no application of this name": (
        _swap(f'^application = "{re.escape(APPLICATION)}"', 'application = "Kaspersky"'),
        ["[[product]]", "application", "no [[application]]"],
    ),
    "products of what is never billed": (
        lambda text: (
            text.replace(f'name = "{APPLICATION}"\n', f'name = "{APPLICATION}"\nbill = false\n', 1)
            + f'[[company.product]]\napplication = "{APPLICATION}"\nall = 7\n'
        ),
        ["[[company.product]]", f'[[application]] "{APPLICATION}" (row 1', "or the products here"],
    ),
    "no product": (_swap("^all = .*$", ""), ["[[product]]", "no product"]),
    "all and a category": (
        _swap("^all = ", "windows_servers = 7\nall = "),
        ["[[product]]", "keep one of the two"],
    ),
    "two applications on one product": (
        _add('[[application]]\nname = "EDR"\n[[product]]\napplication = "EDR"\nall = 1201'),
        ["[[product]]", '"EDR"', "1201", APPLICATION],
    ),
    "an application twice": (
        _add(f'[[application]]\nname = "{APPLICATION}"'),
        ["[[application]]", APPLICATION],
    ),
    "categories of users": (
        _add(
            '[[application]]\nname = "Cloud"\nunit = "user"\n'
            '[[product]]\napplication = "Cloud"\nwindows_servers = 9'
        ),
        ["[[product]]", '"Cloud"', "no categories"],
    ),
    "an unknown unit": (
        _add('[[application]]\nname = "Cloud"\nunit = "users"'),
        ["[[application]]", "unit", 'did you mean "user"?'],
    ),
    "an exception for no application": (
        _add('[[company.product]]\napplication = "EDR"\nbill = false'),
        ["[[company.product]]", "application", '"Fabrikam"'],
    ),
}


@pytest.mark.parametrize(("edit", "words"), MAPPING.values(), ids=MAPPING)
def test_a_wrong_mapping_is_named_with_its_row_and_key(
    files: Operator, edit: Edit, words: list[str]
):
    _spoil(files, "mapping.toml", edit)

    result = _refused(files)

    problem = next(line for line in result.err.splitlines() if words[0] in line)
    assert "mapping.toml: " in problem
    assert [word for word in words if word not in problem] == []


@pytest.mark.parametrize("command", [["sync"], ["preview"], ["map", "list"]])
def test_every_command_that_sends_something_refuses(files: Operator, command: list[str]):
    _spoil(files, "kisi.toml", _top("evidence_day = 3"))

    assert "evidence_day" in _refused(files, *command).err


def test_a_mapping_that_is_a_folder_is_named_with_its_key(files: Operator):
    _spoil(files, "kisi.toml", _swap("^mapping *=.*$", 'mapping = "."'))

    assert f"kisi.toml: mapping: {files.folder} is a folder; name the file in it." in (
        _refused(files).err
    )


def test_a_wrong_mapping_and_a_missing_secret_are_shown_at_once(
    files: Operator, monkeypatch: pytest.MonkeyPatch
):
    _spoil(files, "kisi.toml", _swap("^password *=.*$", 'password = "env:KISI_NOT_SET"'))
    _spoil(files, "mapping.toml", _swap("^all = .*$", ""))
    monkeypatch.delenv("KISI_NOT_SET", raising=False)

    err = _refused(files, "preview").err

    assert "[[product]]" in err
    assert "[sources.hq] password: " in err
    assert err.count("KISI_NOT_SET") == 1


def test_all_problems_of_a_file_are_shown_at_once(files: Operator):
    _spoil(files, "kisi.toml", _top('evidence_days = "x"'))
    _spoil(files, "kisi.toml", _add('[guards]\nadopt = "maybe"\nrun_unit = 3'))

    err = _refused(files).err

    for words in ("evidence_days", "[guards] adopt", "[guards] run_unit"):
        assert words in err


def test_problems_of_both_files_are_shown_at_once(files: Operator):
    _spoil(files, "kisi.toml", _top('evidence_days = "x"'))
    _spoil(files, "mapping.toml", _swap("^agreement = .*$", ""))

    err = _refused(files).err

    assert "kisi.toml: evidence_days" in err
    assert "mapping.toml: [[company]]" in err


def test_one_tenant_may_stand_in_a_second_row_that_is_not_billed(files: Operator):
    text = (files.folder / "mapping.toml").read_text(encoding="utf-8")
    tenant = re.search("tenants = .*", text)[0]
    row = f'[[company]]\nname = "Old"\n{tenant}\ncompany = 9\nagreement = 9\nbilling = false'
    _spoil(files, "mapping.toml", _add(row))

    assert files.sync().code == 0


def test_ids_may_be_numbers_or_text(files: Operator):
    product = next(iter(files.world.catalog))
    _spoil(files, "mapping.toml", _swap(r"^company = (\d+)$", r'company = "\1"'))
    _spoil(files, "mapping.toml", _swap(r"^agreement = (\d+)$", r'agreement = "\1"'))
    _spoil(files, "mapping.toml", _swap(r"^all = (\d+)$", r'all = "\1"'))

    assert files.sync().code == 0
    assert files.world.clients[0].quantities == {product: 3}


# --- secrets ------------------------------------------------------------------------------------


@posix_modes
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_a_secret_that_others_can_read_or_write_is_refused(files: Operator, mode: int):
    secret = files.folder / "secrets" / "ksc-password"
    secret.chmod(mode)

    err = _refused(files).err

    assert "kisi.toml: [sources.hq] password" in err
    assert str(secret) in err
    assert f"chmod 600 {secret}" in err


def test_all_missing_secrets_are_named_at_once(files: Operator):
    (files.folder / "secrets" / "cw-client-id").unlink()
    (files.folder / "secrets" / "cw-private-key").write_text("\n", encoding="utf-8")
    _spoil(files, "kisi.toml", _swap("^password = .*$", ""))

    err = _refused(files).err

    assert "[sources.hq] password: The environment variable KISI_HQ_PASSWORD is not set" in err
    assert "[psa.cw] client_id" in err
    assert "[psa.cw] private_key" in err
    assert "is empty" in err


def test_a_credential_needs_systemd(files: Operator, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    _spoil(files, "kisi.toml", _swap("^password = .*$", 'password = "credential:ksc"'))

    assert "LoadCredential=ksc" in _refused(files).err


def test_secrets_come_from_the_environment_or_systemd_too(
    files: Operator, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("KISI_HQ_PASSWORD", files.sandbox.ksc.account.password)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(files.folder / "secrets"))
    _spoil(files, "kisi.toml", _swap("^password = .*$", ""))
    _spoil(
        files, "kisi.toml", _swap("^private_key = .*$", 'private_key = "credential:cw-private-key"')
    )

    assert files.sync().code == 0


def test_no_secret_is_ever_printed(files: Operator):
    secrets = [
        files.sandbox.ksc.account.password,
        files.sandbox.cw.private_key,
        files.sandbox.cw.public_key,
    ]
    files.sandbox.faults.add(
        "status", match="GET */additions", times=None, code=500, body=" ".join(secrets)
    )

    for arguments in (["sync", "-vv"], ["sync", "--json"], ["preview", "--format", "html"]):
        result = files.run(*arguments)
        assert result.code == 5
        assert [secret for secret in secrets if secret in result.out + result.err] == []
    stored = [path.read_bytes() for path in files.state.iterdir()]
    assert stored
    assert not [secret for secret in secrets if any(secret.encode() in data for data in stored)]


# --- other trouble before the first request -----------------------------------------------------


def test_a_name_that_no_client_has_is_an_error(files: Operator):
    for command in (["sync"], ["preview"]):
        result = files.run(*command, "--only", "Kontoso")
        assert result.code == 3
        assert "'Kontoso'" in result.err
        assert result.requests == ()


@pytest.mark.parametrize(
    "arguments",
    [
        ["frobnicate"],
        ["sync", "--frobnicate"],
        ["sync", "--accept"],
        ["sync", "--jitter", "-1"],
        ["sync", "--lock-timeout", "soon"],
        ["preview", "--format", "xml"],
        ["preview", "extra"],
        ["map", "list", "--format", "pdf"],
    ],
)
def test_a_usage_error_exits_with_two(files: Operator, arguments: list[str]):
    result = files.run_bare(*arguments)

    assert result.code == 2
    assert result.out == ""
    assert "Error" in result.err
    assert result.requests == ()


def test_without_a_kisi_toml_the_operator_is_told_where_it_may_be(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "nothing"))

    nowhere = operator.run_bare("sync")
    assert nowhere.code == 3
    assert "kisi init" in nowhere.err

    missing = operator.run_bare("sync", "--config", str(tmp_path / "missing.toml"))
    assert missing.code == 3
    assert "missing.toml" in missing.err


def test_kisi_toml_is_found_in_the_working_folder_and_by_the_environment(
    files: Operator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("KISI_CONFIG", str(files.config))
    assert files.run_bare("preview").code == 0
    monkeypatch.delenv("KISI_CONFIG")
    monkeypatch.chdir(files.folder)
    assert files.run_bare("preview").code == 0


def test_a_second_run_while_the_first_holds_the_lock_does_nothing(files: Operator):
    contoso = files.world.clients[0]
    with run_lock(files.state):
        locked = files.run("sync")

    assert locked.code == 75
    assert "holds the lock" in locked.err
    assert locked.requests == ()
    assert contoso.additions == []
    assert files.sync().code == 0


def test_preview_needs_no_lock(files: Operator):
    with run_lock(files.state):
        assert files.preview().code == 0


def test_a_state_folder_that_cannot_be_used_is_named(files: Operator):
    files.state.write_text("not a folder", encoding="utf-8")

    result = files.run("sync")

    assert result.code == 8
    assert str(files.state) in result.err
    assert result.requests == ()


def test_a_damaged_journal_is_never_taken_for_an_empty_one(files: Operator):
    contoso = files.world.clients[0]
    files.sync()
    for file in files.state.glob("*.db*"):
        file.write_bytes(b"\x00damaged" * 4096)
    contoso.add_devices()

    result = files.run("sync")

    assert result.code == 8
    assert result.writes == []
    assert list(contoso.quantities.values()) == [3]
    assert str(files.state) in result.err
