"""Nothing secret gets out, and no name or file that comes from elsewhere can do anything."""

from __future__ import annotations

import csv
import gc
import io
import json
import os
import re
import tomllib
import unicodedata
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path

import pytest

from kisi.sandbox.configuration import write_secret
from kisi.sandbox.ksc_records import pxg_error
from tests.conftest import posix_accounts, posix_links, posix_modes
from tests.e2e.conftest import Operator, Result
from tests.e2e.tigerpaw_side import TigerpawSide
from tests.faults.conftest import CREATE, Trial
from tests.faults.monitor import Monitor, answer
from tests.faults.secrecy import ENCODINGS, no_secrets, secrets_in
from tests.owners import belongs_to, somebody

CONFIG = 3


def refused(trial: Trial, *command: str) -> Result:
    """A command that finds something wrong with the files: nothing is sent."""
    result = trial.operator.run(*(command or ("sync", "-vv")))
    trial.results.append(result)
    assert result.code == CONFIG, result.err
    assert result.requests == ()
    assert "To do: " in result.err
    return result


# --- mapping.toml ---------------------------------------------------------------------------------


def _appended(text: str) -> Callable[[bytes], bytes]:
    return lambda before: before + text.encode()


def _replaced(old: str, new: str) -> Callable[[bytes], bytes]:
    def change(before: bytes) -> bytes:
        assert old.encode() in before
        return before.replace(old.encode(), new.encode(), 1)

    return change


def _many(_: bytes) -> bytes:
    """5,000 clients, all of them on one agreement."""
    row = '[[company]]\nname = "C{0}"\ntenants = ["hq:T{0}"]\ncompany = 250\nagreement = 1042\n'
    return "".join(row.format(number) for number in range(5_000)).encode()


@pytest.mark.fault(
    50,
    injection="mapping.toml is wrong in text, key, type, range, size or sense",
    outcome="exit 3 before anything is read: file, place and key, and what to do",
)
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (_replaced("company = 250", "company = 250\ncompany = 251"), 'The key "company" is writ'),
        (_replaced("company = 250", "companyy = 250"), "companyy"),
        (_replaced("company = 250", "company = true"), "company: "),
        (_replaced("company = 250", "company = 250.5"), "company: "),
        (_replaced("company = 250", "company = -250"), "company: "),
        (_replaced("company = 250", f"company = {'9' * 30}"), "company: "),
        (_replaced("company = 250", f"company = {'9' * 5000}"), "A number or a date"),
        (_replaced("company = 250", "company = 2026-11-21"), "company: "),
        (_replaced("company = 250", 'company = "25\\u00000"'), "company: "),
        (_replaced("Contoso", "Cont\\qoso"), "backslash must be doubled"),
        (_replaced('"hq:', '"elsewhere:'), "elsewhere"),
        (_appended("x = " + "[" * 100_000), "nested too deeply"),
        (_appended("[[company"), "the end of the file: A table's name is not closed"),
        (lambda before: before + b"# caf\xe9\n", "The file is not UTF-8 here"),
        (lambda before: before.decode().encode("utf-16"), "The file is UTF-16, not UTF-8"),
        (lambda _: b"\x00" * 1000, "mapping.toml: line 1"),
        (lambda _: b"# " + b"x" * 17 * 2**20, "larger than 8 MiB"),
        (_many, "... and 4949 more."),
    ],
)
def test_a_mapping_that_is_wrong_is_refused_before_anything_is_sent(
    billed: Trial, change: Callable[[bytes], bytes], sentence: str
):
    billed.operator.by_hand()
    mapping = billed.operator.folder / "mapping.toml"
    right = mapping.read_bytes()
    mapping.write_bytes(change(right))

    gc.disable()  # at the end of the stack a finalizer of whatever was used before would fail
    try:
        result = refused(billed)
    finally:
        gc.enable()

    assert "mapping.toml: " in result.err
    assert sentence in result.err
    assert len(result.err) < 20_000, "an operator reads this"
    mapping.write_bytes(right)
    billed.heals()


@pytest.mark.fault(
    50,
    injection="mapping.toml has a byte order mark, CRLF, comments, or is a link",
    outcome="read as ever; `kisi map` changes its row and leaves every other byte, and the link",
)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("linked", [False, pytest.param(True, marks=posix_links)])
def test_a_mapping_from_another_editor_is_read_and_kept(billed: Trial, mark: bytes, linked: bool):
    billed.operator.by_hand()
    mapping = billed.operator.folder / "mapping.toml"
    own = mapping.read_bytes().replace(b"\r\n", b"\n")  # Windows ends lines so by itself
    text = own.replace(b"[[company]]", b"# caf\xc3\xa9 \xe2\x82\xac\n[[company]]")
    before = mark + text.replace(b"\n", b"\r\n")
    kept = mapping.with_name("real.toml") if linked else mapping
    mapping.unlink()
    kept.write_bytes(before)
    if linked:
        mapping.symlink_to(kept)

    assert billed.sync().code == 0
    switched = billed.operator.run("map", "billing", "Contoso", "off", "--offline")

    assert switched.code == 0, switched.err
    assert mapping.is_symlink() is linked
    lines, old = kept.read_bytes().splitlines(keepends=True), before.splitlines(keepends=True)
    new = [line for line in lines if line not in old]
    assert new == [b"billing = false\r\n"]
    assert [line for line in lines if line not in new] == old
    assert billed.operator.run("map", "billing", "Contoso", "on", "--offline").code == 0
    billed.heals()


# --- secrets that are not there -------------------------------------------------------------------

PASSWORD = 'password = "file:secrets/ksc-password"'


def _missing(secret: Path) -> None:
    secret.unlink()


def _empty(secret: Path) -> None:
    secret.write_text("\n")


def _of_two_lines(secret: Path) -> None:
    secret.write_text("hunter2-first\nhunter2-second\n")


def _binary(secret: Path) -> None:
    secret.write_bytes(b"hunter2\xff\xfe")


def _open_to_all(secret: Path) -> None:
    secret.chmod(0o644)


def _a_folder(secret: Path) -> None:
    secret.unlink()
    secret.mkdir()


@pytest.mark.fault(
    52,
    injection="a secret's file is missing, empty, of two lines, binary, a folder, or mode 0644",
    outcome="exit 3 before anything is sent; the reference is named, the value never",
)
@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (_missing, "cannot be read: No such file"),
        (_empty, "The secret file:secrets/ksc-password is empty."),
        (_of_two_lines, "The secret file:secrets/ksc-password is not one line of UTF-8 text."),
        (_binary, "is not UTF-8 text."),
        pytest.param(
            _open_to_all, "is open to other users (mode 0644). Run `chmod", marks=posix_modes
        ),
        (_a_folder, "cannot be read"),
    ],
)
def test_a_secret_that_cannot_be_used_stops_everything(
    billed: Trial, spoil: Callable[[Path], None], sentence: str
):
    billed.operator.by_hand()
    secret = billed.operator.folder / "secrets" / "ksc-password"
    value = secret.read_text()
    spoil(secret)

    result = refused(billed)

    assert "kisi.toml: [sources.hq] password: " in result.err
    assert sentence in result.err
    assert "hunter2" not in result.err
    assert value not in result.err
    if secret.is_dir():
        secret.rmdir()
    write_secret(secret, value)
    billed.heals()


@pytest.mark.fault(
    52,
    injection="kisi.toml, mapping.toml, a secret, or a folder above one belongs to another user",
    outcome="exit 3 before anything is sent or told; whose it is, and how to change that",
)
@posix_accounts
@pytest.mark.parametrize(
    "place", ["kisi.toml", "mapping.toml", "secrets/ksc-password", "secrets", ".", ".."]
)
def test_a_file_that_another_user_decides_about_is_not_used(
    billed: Trial, monkeypatch: pytest.MonkeyPatch, place: str
):
    billed.operator.by_hand()
    owned = Path(os.path.normpath(billed.operator.folder / place))
    with monkeypatch.context() as patch:
        belongs_to(patch, owned, somebody())
        result = refused(billed)
        assert f"{owned} belongs to the user " in result.err
        assert "As root, run `chown " in result.err
        assert billed.operator.run("check").code == CONFIG
    assert billed.contoso.quantities == {billed.product: 6}
    billed.heals()


@pytest.mark.fault(
    52,
    injection="an environment variable with a secret is not set, or is empty",
    outcome="exit 3, all such references at once",
)
def test_every_secret_that_is_missing_is_named_at_once(
    billed: Trial, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("KISI_CW_CLIENT_ID", "")
    monkeypatch.delenv("KISI_HQ_PASSWORD", raising=False)
    billed.operator.by_hand()
    config = billed.operator.config
    named = config.read_text(encoding="utf-8").replace(PASSWORD, "")
    config.write_text(named.replace('client_id = "file:secrets/cw-client-id"', ""))

    result = refused(billed)

    assert "[sources.hq] password: The environment variable KISI_HQ_PASSWORD is not" in result.err
    assert "[psa.cw] client_id: The secret env:KISI_CW_CLIENT_ID is empty." in result.err
    billed.heals()


@pytest.mark.fault(
    52,
    injection="a secret ends with a line end, as `echo` and editors write it",
    outcome="the line end is no part of it: billed",
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_line_end_is_no_part_of_a_secret(billed: Trial, end: str):
    billed.operator.by_hand()
    secret = billed.operator.folder / "secrets" / "ksc-password"
    value = secret.read_text()
    secret.write_text(value + end, newline="")

    assert billed.sync().code == 0

    secret.write_text(value)
    billed.heals()


@pytest.mark.fault(
    53,
    injection="the secret itself stands in kisi.toml instead of a reference",
    outcome="exit 3; the message does not repeat it",
)
@pytest.mark.parametrize(
    "line",
    [
        'password = "hunter2-in-the-clear"',
        'password = "hunter2:in-the-clear"',
        "password = 'hunter2-in-the-clear",
        'passwort = "hunter2-in-the-clear"',
        'password = ["hunter2-in-the-clear"]',
        'password = "env:hunter2 in the clear"',
    ],
)
def test_a_secret_in_the_clear_is_not_repeated(billed: Trial, line: str):
    billed.configure(PASSWORD, line)

    for command in (["sync", "-vv"], ["check", "-vv", "--json"], ["map", "list", "-vv"]):
        result = billed.operator.run(*command)
        assert (result.code, result.requests) == (CONFIG, ())
        assert "hunter2" not in result.err + result.out
    billed.operator.by_hand()
    billed.heals()


# --- secrets that others say ----------------------------------------------------------------------

COMMANDS = (
    ["preview"],
    ["preview", "--json"],
    ["preview", "--format", "csv"],
    ["preview", "--format", "html"],
    ["sync"],
    ["sync", "--json", "--accept", "deadbeef"],
    ["sync", "--format", "html"],
    ["sync", "--format", "csv"],
    ["status"],
    ["status", "--json"],
    ["status", "--format", "csv"],
    ["status", "--format", "html"],
    ["status", "--ready"],
    ["explain", "Contoso", "--devices"],
    ["explain", "Contoso", "--json"],
    ["check", "--online"],
    ["check", "--online", "--json"],
    ["map", "list"],
    ["map", "suggest", "--format", "json"],
)


def _echoes(folder: Path) -> Iterator[str]:
    """Our own credentials as a server could say them: as they are, and as we sent them."""
    secrets = secrets_in(folder)
    for secret in secrets.values():
        yield secret
        yield b64encode(secret.encode()).decode()
        yield json.dumps(secret)
        yield "".join(f"\\u{ord(letter):04x}" for letter in secret)
        yield "".join(f"&#{ord(letter)};" for letter in secret)
        yield "".join(f"%{byte:02x}" for byte in secret.encode())
    login = "acme+{cw-public-key}:{cw-private-key}".format_map(secrets)
    yield "Authorization: Basic " + b64encode(login.encode()).decode()


@pytest.mark.fault(
    53,
    injection="every server answers every request with all of our credentials in its error",
    outcome="not in stdout, stderr, log, journal, report or `-vv`, in no form and no format",
)
def test_what_servers_say_of_our_secrets_goes_no_further(operator: Operator):
    trial, side = Trial(operator), TigerpawSide(operator)
    side.bill_as_one()
    northwind = side.client("Northwind", workstations=4)
    assert operator.sync().code == 0
    said = " ".join(_echoes(operator.folder))
    soap = f"<Success>false</Success><Message>{said}</Message>"
    cases: list[dict[str, object]] = [
        {"kind": "status", "code": 500, "body": said},
        {"kind": "status", "code": 401, "body": {"code": "Security", "message": said}},
        {"kind": "status", "code": 400, "body": {"message": "x", "errors": [{"message": said}]}},
        {"kind": "status", "code": 200, "body": {"Success": False, "Message": said}},
        {"kind": "status", "code": 200, "body": pxg_error(1234, said)},
        {"kind": "status", "code": 200, "body": [{"id": said}]},
        {"kind": "status", "code": 200, "body": soap},
        {"kind": "html", "body": f"<title>{said}</title>"},
        {"kind": "status", "code": 302, "headers": {"Location": f"http://127.0.0.1/?{said[:99]}"}},
        {"kind": "status", "code": 403, "headers": {"X-KSC-ErrorMsg": said[:200]}},
        {"kind": "status", "code": 400, "headers": {"x-cw-request-id": said}},
        {"kind": "status", "code": 200, "body": pxg_error(1234, "x", said)},
        {"kind": "status", "code": 500, "body": " " * 8180 + said},
    ]
    results = []
    operator.ends_sessions = False
    for number, case in enumerate(cases):
        for match in ("P* */additions*", "POST */tsiWS.asmx", "LicenseKeys.*", "*"):
            trial.contoso.add_devices()
            northwind.add_devices("workstation")
            operator.sandbox.faults.add(**case, match=match, times=None)
            chosen = COMMANDS if match == "*" and number < 2 else (["sync"], ["status", "--json"])
            results += [operator.run(*command, "-vv") for command in chosen]
            operator.sandbox.faults.clear()
            operator.sandbox.ksc.sessions.open.clear()

    assert {4, 5, 7} <= {result.code for result in results}
    no_secrets(operator.folder, results)


FOREIGN = "Größe-Šifra€7"
"""A password with letters that Latin-1 has, that Windows-1252 alone has, and that neither has."""


@pytest.mark.fault(
    53,
    injection="our password, not in ASCII, in an error page or header in Latin-1, Windows-1252, "
    "UTF-16, read wrongly, or with percent signs",
    outcome="no part of it in stdout, stderr, log, journal, report or webhook",
)
def test_a_password_comes_back_in_no_encoding(operator: Operator):
    trial = Trial(operator)
    operator.sandbox.ksc.account.password = FOREIGN
    assert operator.sync().code == 0
    monitor = Monitor(answer(200))
    write_secret(operator.folder / "secrets" / "webhook-url", monitor.url)
    operator.more = '[notify]\nwebhook = "file:secrets/webhook-url"\n'
    results, reports = [], []
    operator.ends_sessions = False
    for encoding in ENCODINGS:
        raw = f"wrong password {FOREIGN} of kisi".encode(encoding, "replace")
        read = raw.decode("latin-1").encode()  # as a program would that takes it for Latin-1
        header = raw.replace(b"\0", b"").decode("latin-1")
        spelled = "".join(f"%{byte:02X}" for byte in raw)
        cases: list[dict[str, object]] = [
            {"kind": "status", "code": 500, "body": raw},
            {"kind": "html", "body": read},
            {"kind": "status", "code": 401, "headers": {"X-KSC-ErrorMsg": header}},
            {"kind": "status", "code": 200, "body": raw, "headers": {"Content-Type": header}},
            {"kind": "status", "code": 400, "body": {"message": read.decode() + spelled}},
        ]
        for number, case in enumerate(cases):
            trial.contoso.add_devices()
            match = "P* */additions*" if number % 2 else "*"
            operator.sandbox.faults.add(**case, match=match, times=None)
            report = operator.folder / "state" / f"report-{len(results)}.html"
            results.append(operator.run("sync", "-vv"))
            results.append(
                operator.run("preview", "-vv", "--format", "html", "--output", str(report))
            )
            reports += [("page", report.read_text())] if report.exists() else []
            operator.sandbox.faults.clear()
            operator.sandbox.ksc.sessions.open.clear()
    monitor.close()

    assert {4, 7} <= {result.code for result in results}
    assert "***" in "".join(result.err for result in results)
    heard = [("webhook", json.dumps(body, ensure_ascii=False)) for *_, body in monitor.heard]
    assert heard
    no_secrets(operator.folder, results, [*heard, *reports])
    for where, text in [("stderr", result.err) for result in results] + heard + reports:
        assert not re.search("Gr.{0,8}e-|ifra|-\\S{1,9}i.?f.?r.?a", text), (where, text[:2000])


@pytest.mark.fault(
    53,
    injection="the password is a common word, such as `error`, and a server says it, or not",
    outcome="no gap anywhere: what is said is the same for every such password; `check` warns",
)
def test_a_password_that_is_a_common_word_can_be_read_from_nothing(operator: Operator):
    trial = Trial(operator)
    assert operator.sync().code == 0
    heard: set[str] = set()
    operator.ends_sessions = False
    for word in ("error", "virtual", "Contoso", "access denied"):
        operator.sandbox.ksc.account.password = word
        trial.contoso.add_devices()
        said = f"Internal error of the virtual server: {word} is wrong"
        cases: list[dict[str, object]] = [
            {"kind": "status", "code": 500, "body": said},
            {"kind": "status", "code": 403, "headers": {"X-KSC-ErrorMsg": said}},
            {"kind": "status", "code": 200, "body": pxg_error(1234, said)},
        ]
        for number, case in enumerate(cases):
            operator.sandbox.faults.add(**case, match="*", times=None)
            result = operator.run("sync")
            heard.add(f"{number} {result.code} {result.err} {result.out}")
            operator.sandbox.faults.clear()
            operator.sandbox.ksc.sessions.open.clear()
    checked = operator.run("check")

    assert len(heard) == len(cases), heard
    everything = "".join(heard) + (operator.state / "kisi.log").read_text(encoding="utf-8")
    assert "(not shown)" in everything
    assert "***" not in everything
    assert " is wrong" not in everything
    assert "A secret is a common word or number" in checked.out
    operator.sandbox.ksc.account.password = "sandbox-ksc-password"


@pytest.mark.fault(
    53,
    injection="names of virtual servers, devices, agreements and products hold our credentials",
    outcome="billed by ids; the names are shown and stored with *** instead",
)
def test_a_secret_in_a_name_goes_no_further(operator: Operator):
    trial = Trial(operator)
    assert operator.sync().code == 0
    for number, secret in enumerate(secrets_in(operator.folder).values()):
        client = operator.client(f"Client {number}", workstations=2)
        client.server.name = f"server {secret}"
        client.agreement.name = f"agreement {secret}"
        for device in client.devices():
            device.name = f"device {secret}"
        operator.world.add_line(client.agreement_id, operator.world.product(secret), 1)
        operator.world.tenant(f"unmapped {secret}", workstations=1)

    results = [operator.run(*command, "-vv") for command in COMMANDS]

    assert "device ***" in operator.run("explain", "Client 1", "--devices").out
    assert client.quantities[trial.product] == 2
    no_secrets(operator.folder, results)
    trial.heals()


@pytest.mark.fault(
    53,
    injection="a bug raises an error with a secret in it, and the operator asks for -vv",
    outcome="exit 1, one sentence and a traceback, both without the secret",
)
def test_the_traceback_of_a_bug_holds_no_secret(billed: Trial, monkeypatch: pytest.MonkeyPatch):
    secret = secrets_in(billed.operator.folder)["cw-private-key"]

    def bug(*_: object) -> None:
        raise RuntimeError(f"GET https://acme:{secret}@api.example \x1b[2J")

    monkeypatch.setattr("kisi.run.daily.reconcile", bug)
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", out)
        patch.setattr("sys.stderr", err)
        from kisi.cli import run

        assert run(["sync", "-vv", "--config", str(billed.operator.config)]) == 1

    said = err.getvalue()
    assert "this is a bug in kisi: RuntimeError: GET https://acme:***@api.example" in said
    assert "Traceback" in said
    assert "\x1b" not in said
    no_secrets(billed.operator.folder, more=[("stdout", out.getvalue()), ("stderr", said)])


# --- names ----------------------------------------------------------------------------------------

NAMES = (
    "[/]",
    "[bold red]x[/bold red] [link=https://evil.example]y[/link]",
    "\x1b[2J\x1b]0;title\x07\x1b[31mred",
    "\x9b31mC1",
    "\u202egnp.exe\u2066",
    "=cmd|' /C calc'!A0",
    "+1-2",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    'O\'Brien "Quoted", Ltd; {x}',
    "Ltd\nError: forged\r\n0 of 0 clients up to date.",
    "<script>alert(1)</script><img src=x onerror=y>&amp;",
    "👩\u200d💻 emoji",
    "株式会社 漢字",
    "مرحبا עברית",
    "x" * 300,
    "trailing space ",
    "#comment = \"\"\"'''\\",
    "a\u0000b",
)
CAFE = "Café"
FORMS = ("table", "json", "csv", "html")
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\0")


def harmless(text: str) -> None:
    """Fails on anything that a terminal, a pager or a log viewer could act upon."""
    odd = {char for char in text if not char.isprintable() and char not in "\r\n"}
    assert not odd, f"{odd!r} in {text[:400]!r}"
    assert "\nError: forged" not in text


class Page(HTMLParser):
    """Collects what a browser would make of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.links: set[str] = set()
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links |= {str(value) for name, value in attrs if name == "href"}
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def _outputs(
    operator: Operator, *command: str, forms: Sequence[str] = FORMS
) -> Iterator[tuple[str, Result]]:
    for form in forms:
        yield form, operator.run(*command, "--format", form, "-vv")


def _check(form: str, result: Result) -> None:
    harmless(result.out)
    harmless(result.err)
    assert result.code in {0, 6, 10}, result.err
    if form == "json":
        json.loads(result.out)
    elif form == "csv":
        rows = list(csv.reader(io.StringIO(result.out, newline=""), strict=True))
        assert len({len(row) for row in rows}) == 1
        cells = [cell for row in rows[1:] for cell in row]
        unsafe = [cell for cell in cells if cell.startswith(FORMULA) and not _is_number(cell)]
        assert not unsafe
    elif form == "html":
        page = Page(result.out)
        assert not page.tags & {"img", "iframe", "form", "object", "link"}
        assert all(re.fullmatch(r"#[\w-]+", link) for link in page.links)  # to its own parts
        assert result.out.count("<script") <= 1  # its own, which the policy names by its hash
        assert not [name for name in page.attributes if name.startswith("on") or "src" in name]


def _is_number(cell: str) -> bool:
    return re.fullmatch(r"-?[0-9.]+", cell) is not None


@pytest.fixture
def zoo(operator: Operator) -> Operator:
    """Clients, unmapped tenants, agreements, products, devices, keys with hostile names."""
    world = operator.world
    operator.bill_by_category()
    for name in NAMES:
        client = operator.client(name, workstations=2, servers=1)
        client.agreement.name = name
        for device in client.devices():
            device.name = name
        world.add_line(client.agreement_id, world.product(name[:50]), 1)
        client.key(name, devices=client.devices()[:1])
        world.tenant(f"{name}!", workstations=1)
    for device in operator.client("Devices without names", workstations=2).devices():
        device.name = ""
    return operator


@pytest.mark.fault(
    54,
    injection="names of clients, devices, keys, products and agreements with markup, escape "
    "codes, bidi controls, formulas, newlines, HTML, 300 characters",
    outcome="every client billed by its ids; no output, log line or file is broken or forged",
)
def test_no_name_can_do_anything(zoo: Operator):
    results = [*_outputs(zoo, "preview")]
    synced = list(_outputs(zoo, "sync"))
    results += [*synced, *_outputs(zoo, "status", "-v")]
    for name in (NAMES[2], NAMES[5], NAMES[11], NAMES[12]):
        results += _outputs(zoo, "explain", name, "--devices", forms=FORMS[:3])
    results += _outputs(zoo, "map", "list", forms=FORMS[:3])
    for form, result in results:
        _check(form, result)
    for log in zoo.state.glob("kisi.log*"):
        harmless(log.read_text(encoding="utf-8"))

    document = synced[1][1].document
    assert [row["name"] for row in document["companies"]] == [
        *NAMES,
        "Devices without names",
    ]
    workstations, servers, *_ = zoo.world.catalog
    for client in zoo.world.clients[:-1]:
        assert (client.quantities[workstations], client.quantities[servers]) == (2, 1)
    written = tomllib.loads((zoo.folder / "mapping.toml").read_text(encoding="utf-8"))
    assert [row["name"] for row in written["company"]][: len(NAMES)] == list(NAMES)


@pytest.mark.fault(
    54,
    injection="two clients have the same name, one composed, one decomposed (NFC, NFD)",
    outcome="ids decide, not names: each is billed what it uses",
)
def test_ids_decide_and_not_names(operator: Operator):
    product = operator.bill_as_one()
    composed = operator.client(unicodedata.normalize("NFC", CAFE), workstations=2)
    decomposed = operator.client(unicodedata.normalize("NFD", CAFE), workstations=5)
    twin = operator.client(CAFE, workstations=7)
    twin.server.name = "Cafe 3"

    assert operator.sync().code == 0

    quantities = [client.quantities for client in (composed, decomposed, twin)]
    assert quantities == [{product: 2}, {product: 5}, {product: 7}]


@pytest.mark.fault(
    54,
    injection="`kisi map` adds a client whose name has quotes, newlines and control characters",
    outcome="mapping.toml stays TOML, and holds exactly that name",
)
@pytest.mark.parametrize("name", [NAMES[2], NAMES[11], NAMES[18], NAMES[4]])
def test_a_hostile_name_cannot_break_the_mapping_file(operator: Operator, name: str):
    operator.bill_as_one()
    client = operator.client(name, workstations=2)
    client.mapped = False
    operator.client("Fabrikam", workstations=1)
    operator.by_hand()

    added = operator.run(
        *("map", "company", "--tenant", f"hq:{client.tenant}", "--billing", "on"),
        *("--company", str(client.company_id), "--agreement", str(client.agreement_id)),
    )

    assert added.code == 0, added.err
    harmless(added.err + added.out)
    rows = tomllib.loads((operator.folder / "mapping.toml").read_text(encoding="utf-8"))["company"]
    assert [row["name"] for row in rows] == ["Fabrikam", name]
    assert operator.run("sync").code == 0
    assert list(client.quantities.values()) == [2]


@pytest.mark.fault(
    54,
    injection="a PSA's refusal holds escape codes, newlines and 100,000 characters",
    outcome="one line of a sane length for the operator, nothing acts; exit 7",
)
def test_a_hostile_refusal_is_one_line(trial: Trial):
    text = "no\x1b[2J\nError: forged\u202e" + "x" * 100_000
    trial.fault("status", CREATE, times=None, code=400, body={"message": text})

    result = trial.operator.sync()

    assert result.code == 7
    harmless(result.err)
    assert max(map(len, result.err.splitlines())) < 2000
    trial.heals()
