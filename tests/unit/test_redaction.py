"""Nothing that leaves the process as text holds a secret, in whatever wrapping."""

from __future__ import annotations

import io
import json
import logging
import unicodedata
from base64 import b64encode, urlsafe_b64encode
from html import escape
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from kisi.redaction import (
    MASK,
    NOT_QUOTED,
    REDACTOR,
    RedactingFilter,
    Redactor,
    bug_trace,
    is_common,
    remote_text,
    remote_words,
)

SECRET = 'p"ss/w?rd & größe+<1>'


@pytest.fixture
def redactor():
    it = Redactor()
    it.add(SECRET)
    return it


@pytest.mark.parametrize(
    "wrapped",
    [
        SECRET,
        json.dumps({"password": SECRET}),
        json.dumps({"password": SECRET}, ensure_ascii=False),
        repr({"password": SECRET}),
        escape(SECRET),
        escape(SECRET, quote=False),
        quote(SECRET, safe=""),
        quote(SECRET, safe="").lower(),
        quote_plus(SECRET),
        urlencode({"k": SECRET}),
        b64encode(SECRET.encode()).decode(),
        urlsafe_b64encode(SECRET.encode()).decode(),
        quote(quote(SECRET, safe=""), safe=""),
        escape(json.dumps({"password": SECRET})),
        json.dumps({"password": SECRET}).replace("/", "\\/").replace("\\u00f6", "\\u00F6"),
        repr(json.dumps({"password": SECRET})),
        "".join(f"&#{ord(letter)};" for letter in SECRET),
        "".join(f"&#X{ord(letter):X};" for letter in SECRET),
        SECRET.replace("&", "&amp;").replace('"', "&quot;").replace("ö", "&ouml;"),
    ],
)
def test_every_encoding_of_a_secret_is_masked(redactor, wrapped):
    masked = redactor.redact(f"before {wrapped} after")
    assert MASK in masked
    assert masked.startswith("before ")
    assert masked.endswith(" after")
    assert not any(part in masked for part in (SECRET, "größe", "gr%C3", "gr%c3", "gr\\u00f6"))


@given(st.text(max_size=8), st.text(min_size=8, max_size=30), st.text(max_size=8))
def test_basic_credentials_of_any_user_are_masked(user, secret, tail):
    assume(not is_common(secret))
    redactor = Redactor()
    redactor.add(secret)
    whole = b64encode(f"{user}:{secret}{tail}".encode()).decode()
    assert MASK in redactor.redact(f"Authorization: Basic {whole}")


@given(st.lists(st.text(min_size=4), min_size=1, max_size=4), st.text())
def test_no_registered_secret_survives(secrets, text):
    assume(not is_common(secrets[0]))
    redactor = Redactor()
    for secret in secrets:
        redactor.add(secret)
    masked = redactor.redact(text + secrets[0] + text)
    assert secrets[0] not in masked.replace(MASK, "\0")


_NAMES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&apos;", "ß": "&szlig;"}
_SHORT = {"/": r"\/", '"': r"\"", "\\": "\\\\", "\t": r"\t", "\n": r"\n"}
SPELLINGS = {
    "JSON": lambda letter: (
        json.dumps(letter)[1:-1] if ord(letter) > 126 else rf"\u{ord(letter):04x}"
    ),
    "JSON, upper case": lambda letter: SPELLINGS["JSON"](letter).upper().replace("\\U", "\\u"),
    "JSON, short": lambda letter: _SHORT.get(letter) or SPELLINGS["JSON"](letter),
    "HTML, decimal": lambda letter: f"&#{ord(letter)};",
    "HTML, hexadecimal": lambda letter: f"&#x{ord(letter):X};",
    "HTML, named": lambda letter: _NAMES.get(letter) or f"&#X{ord(letter):x};",
    "address": lambda letter: "".join(f"%{byte:02X}" for byte in letter.encode()),
    "address, lower case": lambda letter: "".join(f"%{byte:02x}" for byte in letter.encode()),
}
LETTERS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0")
    | st.sampled_from("\\%&;'\"/+=# <>abcdefnrtux0123456789"),
    min_size=4,
    max_size=24,
)


@given(
    LETTERS, st.sampled_from(sorted(SPELLINGS)), st.randoms(use_true_random=False), st.booleans()
)
def test_any_letters_of_a_secret_may_be_spelled_otherwise(secret, spelling, random, packed):
    secret += "~!"  # else letters that look like bytes of UTF-8 could read as fewer than 4
    assume(not is_common(secret))
    redactor = Redactor()
    redactor.add(secret)
    bare = b64encode(f"acme+key:{secret}".encode()).decode() if packed else secret
    spelled = "".join(
        letter if letter.isalnum() and random.random() < 0.5 else SPELLINGS[spelling](letter)
        for letter in bare
    )
    masked = redactor.redact(f'{{"message": "{spelled}"}}')
    assert MASK in masked
    assert spelled not in masked
    if not packed:
        assert masked == f'{{"message": "{MASK}"}}'


@given(LETTERS, st.integers(0, 60), st.sampled_from(sorted(SPELLINGS)))
def test_an_opening_shows_no_part_of_a_secret_that_reaches_over_its_end(secret, end, spelling):
    assume("." not in secret and not is_common(secret))
    redactor = Redactor()
    redactor.add(secret)
    text = "." * 20 + "".join(map(SPELLINGS[spelling], secret)) + "." * 20
    shown = redactor.opening(text, end)
    assert shown == "." * end if end <= 20 else shown.rstrip(".") == "." * 20 + MASK


def test_text_that_only_looks_encoded_stays_as_it_is(redactor):
    text = r"C:\new\table 100%25 &amp; &bogus; \ud800 %ff %C3( \Uffffffff"
    assert redactor.redact(text) == text


def test_a_secret_that_looks_encoded_is_found_plain_and_encoded():
    redactor = Redactor()
    redactor.add('p%41"&amp;\\n')
    redactor.add("&amp;")
    assert redactor.redact('p%41"&amp;\\n') == MASK
    assert redactor.redact(json.dumps('p%41"&amp;\\n')) == f'"{MASK}"'
    assert redactor.redact("A & B") == "A & B"


def test_a_longer_secret_is_masked_before_one_that_it_contains(redactor):
    redactor.add(SECRET + "-2026")
    assert redactor.redact(SECRET + "-2026") == MASK


FOREIGN = "Größe-Šifra€7"


def misread(encoding: str, read: str = "latin-1") -> str:
    return FOREIGN.encode(encoding, "replace").decode(read, "replace")


@pytest.mark.parametrize(
    "text",
    [
        misread("utf-8"),
        misread("utf-8", "cp1252"),
        misread("utf-8").encode().decode("latin-1"),
        misread("cp1252"),
        misread("cp1252", "utf-8"),
        misread("latin-1"),
        misread("utf-16-le"),
        misread("utf-16-be"),
        misread("utf-16-le", "utf-8"),
        misread("cp1250"),
        json.dumps(misread("utf-8")),
        repr(FOREIGN.encode()),
        repr(FOREIGN.encode("cp1252")),
        repr(FOREIGN.encode("utf-16-be")),
        quote(FOREIGN, encoding="cp1252", safe=""),
        quote(FOREIGN.encode("utf-16-le"), safe=""),
        "".join(f"%u{ord(letter):04X}" for letter in FOREIGN),
        escape(misread("utf-8")),
        unicodedata.normalize("NFD", FOREIGN),
    ],
)
def test_a_secret_is_found_in_the_bytes_of_any_encoding(text):
    redactor = Redactor()
    redactor.add(FOREIGN)
    masked = redactor.redact(f"before {text} after")
    assert masked.startswith("before ")
    assert masked.endswith(" after")
    assert MASK in masked
    assert not any(part in masked for part in ("Gr", "ifra", "fra", "i\0f\0r", "7"))


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=4, max_size=20), st.text())
@example("????", "")
@example("abc\u3f00", "")
@example("\0\0\0\0", "")
def test_a_secret_of_any_letters_is_found_in_utf_8_and_utf_16_read_as_bytes(secret, before):
    assume(not is_common(secret))
    redactor = Redactor()
    redactor.add(secret)
    for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
        form = secret.encode(encoding).decode("latin-1")
        assert form not in redactor.redact(before + form + "!").replace(MASK, "\ud800")


@pytest.mark.parametrize(
    ("secret", "common"),
    [
        *((word, True) for word in ("error", "Error", "ERROR", "InvalidObject", "access denied")),
        *(
            (word, True)
            for word in ("10.0.0.1", "2026", "a", "x7#", "пароль", "密码密码", "a b c d")
        ),
        *(
            (word, False)
            for word in ("Welcome2024", "x7#q", "aBcDeFgHiJkLmNoP", "p@ssword", "a1b2")
        ),
        *((word, False) for word in ("correct horse battery staple", "a" * 16, "9" * 16)),
    ],
)
def test_a_secret_that_any_text_may_hold_is_told_from_others(secret, common):
    assert is_common(secret) is common


def test_no_gap_shows_a_common_word_and_nothing_is_quoted():
    redactor = Redactor()
    redactor.add("error")
    assert redactor.redact("Internal Server error") == "Internal Server error"
    assert remote_words("the password is error", 80) == "the password is error"
    REDACTOR.quotes = False
    assert remote_words("the password is error", 80) == NOT_QUOTED
    assert remote_words("", 80) == ""
    assert remote_text("Contoso", 80) == "Contoso"
    try:
        raise ValueError("the password is error")
    except ValueError as error:
        trace = bug_trace(error)
    assert trace.endswith(f"ValueError: {NOT_QUOTED}")
    assert "test_no_gap_shows" in trace


def test_a_secret_of_a_few_characters_does_not_shred_the_output():
    redactor = Redactor()
    redactor.add("a")
    redactor.add("")
    assert redactor.redact("a plain sentence") == "a plain sentence"


@pytest.fixture
def log(redactor):
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(RedactingFilter(redactor))
    logger = logging.getLogger("kisi.tests.redaction")
    logger.propagate = False
    logger.addHandler(handler)
    yield logger, stream
    logger.removeHandler(handler)
    handler.close()


def test_messages_arguments_tracebacks_and_stacks_are_redacted(log):
    logger, stream = log
    logger.warning("login as %s with %s", "kisi", SECRET)
    try:
        raise ValueError(SECRET)
    except ValueError:
        logger.exception("failed", stack_info=True)
    written = stream.getvalue()
    assert f"login as kisi with {MASK}" in written
    assert f"ValueError: {MASK}" in written
    assert "Stack (most recent call last)" in written
    assert SECRET not in written


def test_a_record_with_wrong_arguments_is_still_logged_and_redacted(log):
    logger, stream = log
    logger.warning("%d requests", SECRET)
    assert stream.getvalue().startswith("%d requests (")
    assert SECRET not in stream.getvalue()


def test_a_formatter_cannot_bring_the_traceback_back(redactor):
    try:
        raise ValueError(SECRET)
    except ValueError as error:
        record = logging.makeLogRecord(
            {"msg": "x", "exc_info": (ValueError, error, error.__traceback__)}
        )
    assert RedactingFilter(redactor).filter(record)
    assert record.exc_info is None
    assert record.exc_text.endswith(f"ValueError: {MASK}")
    assert RedactingFilter(redactor).filter(record)
    assert record.exc_text.endswith(f"ValueError: {MASK}")


GUID = "c1a0ffee-0b5e-4d3a-9e21-7f00d15ea5e1"
_BARE = GUID.replace("-", "")


@pytest.mark.parametrize("registered", [GUID, GUID.upper(), _BARE, f"{{{GUID}}}"])
@pytest.mark.parametrize(
    "said",
    [
        GUID,
        GUID.upper(),
        GUID.title(),
        _BARE,
        _BARE.upper(),
        f"{{{GUID.upper()}}}",
        f"({_BARE})",
        quote(f"{{{GUID}}}"),
        b64encode(f"id:{GUID.upper()}".encode()).decode(),
        b64encode(_BARE.encode()).decode(),
        _BARE.encode("utf-16-le").decode("latin-1"),
    ],
)
def test_a_guid_is_masked_in_each_of_its_spellings(registered, said):
    redactor = Redactor()
    redactor.add(registered)
    masked = redactor.redact(f"The clientId {said} is not known.")
    assert MASK in masked
    assert "ffee" not in masked.casefold()
    assert masked.startswith("The clientId ")
    assert masked.endswith(" is not known.")


def test_another_guid_is_shown():
    redactor = Redactor()
    redactor.add(GUID)
    other = GUID.replace("c1a0", "c1a1")
    assert redactor.redact(other) == other
