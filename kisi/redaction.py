"""Keeps secrets, and characters that act, out of everything that is printed, logged or stored.

Every secret that `kisi.secrets` resolves is registered with `REDACTOR`, the last line of defence
behind code that puts no secret into a message in the first place. What a remote system calls
something may also be a formula to a spreadsheet.

A mask in a sentence that everybody knows shows what it hides: "Internal Server ***". So a secret
that is an ordinary word is never masked. Instead no words of a server are quoted at all.
"""

from __future__ import annotations

import codecs
import html
import logging
import re
import sys
import traceback
import unicodedata
from base64 import b64encode, urlsafe_b64encode
from bisect import bisect_right
from collections.abc import Callable, Iterator
from threading import Lock
from urllib.parse import unquote_to_bytes

MASK = "***"
NOT_QUOTED = "(not shown)"
_SHORTEST = 4
_SHORTEST_UNCOMMON = 16
"""A secret of as many characters is in no text by chance, whatever it is made of."""
_WORD = r"(?:(?:[A-Z]?+[^\W\d_A-Z]{2,}+)++|[A-Z]++|[a-z]|\d++)"
_COMMON = re.compile(rf"[ ._/:,'-]?{_WORD}(?:[ ._/:,'-]{_WORD})*+[ ._/:,'-]?")
"""Words and numbers as texts and names have them: `error`, `InvalidObject`, `10.0`; no address."""
_SHORTEST_BASE64 = 6
_GUID = re.compile(
    r"[({]?([0-9a-f]{8})" + r"-?([0-9a-f]{4})" * 3 + r"-?([0-9a-f]{12})[)}]?", re.IGNORECASE
)
"""What systems spell as they like: in either case, with dashes and braces or without."""
SUBSTITUTE = "kisi"
"""How to encode what people read, in whatever encoding: `text.encode(encoding, SUBSTITUTE)`."""
_STAND_INS = {"→": "->", "…": "...", "·": "-", "─": "-", "✗": "x", "✓": "+"}
"""What stands for kisi's own symbols where an encoding cannot carry them."""
_LAYERS = 2
"""How often a text is decoded: JSON inside HTML, an address inside an address."""
_WIDEST = 40
"""Characters that one of a secret can take, encoded twice: `%26%23x0001F600%3B`."""

_TAILS = {
    letter: byte
    for byte in range(0x80, 0xC0)
    for letter in {chr(byte), bytes([byte]).decode("cp1252", "ignore") or chr(byte)}
}
"""The characters that all bytes but the first of one in UTF-8 are taken for."""
_ENCODED = re.compile(
    r"""
    \\u[d][89ab][0-9a-f]{2}\\u[d][c-f][0-9a-f]{2}    # JSON, a pair of surrogates
    | (?-i:\\U)[0-9a-f]{8}
    | \\(?: u[0-9a-f]{4} | x[0-9a-f]{2} | ["'\\/bfnrt] )
    | &(?: \#[0-9]{1,7};? | \#x[0-9a-f]{1,6};? | [a-z][a-z0-9]{1,31}; )
    | %[0-7][0-9a-f]                                 # UTF-8, one character each
    | %[cd][0-9a-f]%[89ab][0-9a-f]
    | %e[0-9a-f](?:%[89ab][0-9a-f]){2}
    | %f[0-7](?:%[89ab][0-9a-f]){3}
    | %[89a-f][0-9a-f]                               # Latin-1, or a byte of UTF-16
    | %u[0-9a-f]{4}
    | (?-i: [\xc2-\xdf]TAIL | [\xe0-\xef]TAIL{2} | [\xf0-\xf4]TAIL{3} )
    """.replace("TAIL", f"[{''.join(_TAILS)}]"),
    re.VERBOSE | re.IGNORECASE,
)
"""One character as JSON, Python, HTML or an address spells it, in either case of its digits; or its
bytes in UTF-8, read as Latin-1 or as Windows-1252."""
_HEXADECIMAL = re.compile(r"[ux]([0-9a-f]+)", re.IGNORECASE)
_SHORT = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}

_WINDOWS = (874, 932, 936, 949, 950, *range(1250, 1259))
_ENCODINGS = ("utf-8", "utf-16-le", "utf-16-be", "latin-1", *(f"cp{page}" for page in _WINDOWS))
"""What a server's text may be in: Unicode, or a code page of Windows, by country."""
_LOST = dict.fromkeys(map(ord, "\0\ufffd"))
"""What may be left of a character in bytes that are read in another encoding."""

_Span = tuple[int, int]


class Redactor:
    """Replaces registered secrets in text, also in the encodings that protocols wrap them in.

    A GUID is one in any case, with its dashes or without.

    A secret is found as it is and in base64, wherever in a longer base64 text it stands, and both
    also with any of their characters as JSON, Python, HTML or an address spells it; and in each
    encoding that a server may have, read as another one. Thread-safe.
    """

    quotes = True
    """Whether words of servers may be shown; not where a secret `is_common`."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._forms: set[str] = set()
        self._guids: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self._longest = 0

    def add(self, secret: str) -> None:
        """Registers a secret; one that `is_common` is not masked, and ends `quotes`."""
        if is_common(secret):
            self.quotes = False
            return
        with self._lock:
            self._forms.update(_forms(secret))
            if guid := _GUID.fullmatch(secret):
                self._guids.add(f"(?i:{'-?'.join(guid.groups())})")
                for spelled in ("".join(guid.groups()), "-".join(guid.groups())):
                    self._forms.update(_forms(spelled.lower()), _forms(spelled.upper()))
            longest_first = sorted(self._forms, key=len, reverse=True)
            self._longest = len(longest_first[0])
            self._pattern = re.compile("|".join([*map(re.escape, longest_first), *self._guids]))

    def redact(self, text: str) -> str:
        """`text` with `***` in place of every registered secret."""
        return self.opening(text, len(text))

    def opening(self, text: str, end: int) -> str:
        """The first `end` characters of `text`, redacted.

        A secret that reaches over the end is masked like any other; cut, it would not be found.
        """
        pattern = self._pattern
        seen = text[: end + _WIDEST * self._longest]
        if pattern is None or not (pattern.search(seen) or _ENCODED.search(seen)):
            return text[:end]  # as nearly always
        shown, at = [], 0
        for start, stop in sorted(_spans(pattern, seen)):
            if start >= end:
                break
            if start >= at:  # else it overlaps the one before it
                shown += [text[at:start], MASK]
            at = max(at, stop)
        return "".join([*shown, text[at:end]])


def _spans(pattern: re.Pattern[str], text: str) -> Iterator[_Span]:
    """Where secrets are in `text` as it stands, and as it reads once it is decoded."""
    layer = text
    maps: list[_Decoded] = []
    for _ in range(_LAYERS + 1):
        for match in pattern.finditer(layer):
            span = match.span()
            for decoded in reversed(maps):
                span = decoded.source(span)
            yield span
        if _ENCODED.search(layer) is None or (decoded := _Decoded(layer)).text == layer:
            return
        layer = decoded.text
        maps.append(decoded)


class _Decoded:
    """A text with every encoded character in it decoded, and where each came from."""

    def __init__(self, encoded: str) -> None:
        parts: list[str] = []
        self._starts, self._sources, length, at = [0], [(0, 0)], 0, 0
        for match in _ENCODED.finditer(encoded):
            plain, letter = encoded[at : match.start()], _letter(match[0])
            parts += [plain, letter]
            at = match.end()
            self._starts += [length + len(plain), length + len(plain) + len(letter)]
            self._sources += [match.span(), (at, at)]
            length += len(plain) + len(letter)
        self.text = "".join([*parts, encoded[at:]])

    def source(self, span: _Span) -> _Span:
        """Where the characters of `span` stand in the encoded text."""
        return self._place(span[0])[0], self._place(span[1] - 1)[1]

    def _place(self, index: int) -> _Span:
        piece = bisect_right(self._starts, index) - 1
        start, stop = self._sources[piece]
        if start != stop:
            return start, stop
        offset = index - self._starts[piece]
        return start + offset, start + offset + 1


def _letter(encoded: str) -> str:
    """The character that a match of `_ENCODED` spells; itself where it spells none."""
    if encoded[0] == "%" and encoded[1] not in "uU":
        raw = unquote_to_bytes(encoded)
        return raw.decode("utf-8", "ignore") or raw.decode("latin-1")
    if encoded[-1] in _TAILS:
        raw = bytes([ord(encoded[0]), *map(_TAILS.__getitem__, encoded[1:])])
        return raw.decode("utf-8", "ignore") or encoded
    if encoded[0] == "\\" and len(encoded) == len("\\/"):
        return _SHORT.get(encoded[1], encoded[1])
    if encoded[0] == "&" and encoded[1] != "#":
        return html.unescape(encoded)
    codes = [int(code, 16) for code in _HEXADECIMAL.findall(encoded)]
    codes = codes or [int(encoded[2:].rstrip(";"))]
    if len(codes) > 1:
        return chr(0x10000 + ((codes[0] - 0xD800) << 10) + codes[1] - 0xDC00)
    return chr(codes[0]) if codes[0] <= sys.maxunicode else encoded


def is_common(secret: str) -> bool:
    """Whether ordinary text may hold a secret by chance: words or numbers, fewer than 16 letters.

    So may fewer than 4 of any kind. A mask in such a text would show the secret.
    """
    if len(secret) < _SHORTEST:
        return True
    return len(secret) < _SHORTEST_UNCOMMON and _COMMON.fullmatch(secret) is not None


def _forms(secret: str) -> Iterator[str]:
    """What to look for: the secret, also decoded (it may hold `%41`), its bytes, and its base64."""
    read = secret
    for _ in range(_LAYERS + 1):
        if len(read) >= _SHORTEST:
            yield read
            yield read.replace(" ", "+")  # as a form has it
        read = _Decoded(read).text
    for spelled in {secret, *(unicodedata.normalize(form, secret) for form in ("NFC", "NFD"))}:
        yield spelled
        for encoding in _ENCODINGS:
            if len(spelled.encode(encoding, "ignore")) < _SHORTEST:  # too few that it has
                continue
            raw = spelled.encode(encoding, "replace")
            letters = raw.decode("latin-1")  # without NULs where no text has any, as in a header
            yield letters
            for form in (letters.replace("\0", ""), raw.decode("utf-8", "replace")):
                if len(form.translate(_LOST)) >= _SHORTEST:
                    yield form
    for raw in (secret.encode(), secret.encode("latin-1", "replace")):
        base64 = [b64encode(raw).decode()]
        for skip in range(3):  # in each place in a group of three, the characters of `raw` alone:
            # the first and the last may also hold bits of what stands beside it
            first, end = (skip * 8 + 5) // 6, (skip + len(raw)) * 8 // 6
            encoded = (encode(bytes(skip) + raw) for encode in (b64encode, urlsafe_b64encode))
            base64 += [one.decode()[first:end] for one in encoded]
        yield from (form for form in base64 if len(form) >= _SHORTEST_BASE64)


REDACTOR = Redactor()
"""The redactor of this process; `kisi.secrets.resolve` registers secrets with it."""

STARTS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What makes a cell a formula if it comes first (OWASP ASVS 1.2.10); the wide forms do
where Japanese is written."""
_INSIDE = re.compile(rf"((?:[,;|\t\r\n]|^[\s\"'])[\s\"']*)([{re.escape(''.join(STARTS))}])")


def guarded_inside(text: str, guard: Callable[[str], str]) -> str:
    """`text` with `guard` put over every start of a formula that is not the first letter.

    It stands behind spaces and quotes, or a delimiter: a file of commas is also split at semicolons
    (where the decimal sign is a comma), tabs or bars.
    """
    return _INSIDE.sub(lambda match: match[1] + guard(match[2]), text)


def remote_name(text: str) -> str:
    """What a remote system calls something, for people: whole, but for our secrets.

    Only for names that decide nothing: a password that is a common word must not change the bill,
    so ids, and what a rule is matched against, stay as they came.
    """
    return REDACTOR.redact(text)


def remote_text(text: str, longest: int) -> str:
    """A value of a remote system, fit for a message: on one line, without our secrets, then cut.

    A server may say our own credentials to us. Cut first, half a secret would not be found again.
    """
    line = " ".join(REDACTOR.redact(text).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def remote_words(text: str, longest: int) -> str:
    """What a remote system said in words of its own, fit for a message; see `Redactor.quotes`.

    Nothing must be decided by it.
    """
    return remote_text(text, longest) if REDACTOR.quotes or not text else NOT_QUOTED


def describe_bug(error: BaseException) -> str:
    """An error that kisi did not foresee, in a line: its words may be a server's."""
    return f"{type(error).__name__}: {remote_words(str(error), 200)}".removesuffix(": ")


def bug_trace(error: BaseException, redactor: Redactor = REDACTOR) -> str:
    """Where such an error was raised, without our secrets, nor words that are not quoted."""
    whole = traceback.format_exception(error)
    frames = [*traceback.format_tb(error.__traceback__), f"{type(error).__name__}: {NOT_QUOTED}"]
    return redactor.redact("".join(whole if redactor.quotes else frames).rstrip())


def safe_text(text: str) -> str:
    r"""Makes remote text safe for a terminal, a page or a log: nothing can act, nothing is lost.

    Control characters, newlines, escape sequences, bidirectional controls, zero-width characters
    and lone surrogates become `\xNN`, `\uNNNN` or `\UNNNNNNNN`.
    """
    # Bidirectional controls and zero-width joiners are format characters, so not printable.
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else escaped(char) for char in text)


def escaped(char: str) -> str:
    r"""A letter spelled out: `\x1b`."""
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def substitute(error: UnicodeError) -> tuple[str, int]:
    r"""What an encoding lacks: kisi's own symbols become ASCII, everything else `\uNNNN`.

    The error handler `SUBSTITUTE` of Python's codecs; it raises what is no `UnicodeEncodeError`.
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_STAND_INS.get(char) or escaped(char) for char in lacking), error.end


codecs.register_error(SUBSTITUTE, substitute)


class RedactingFilter(logging.Filter):
    """Redacts log records. To be added to every handler: a logger's filters miss its children.

    Message and arguments are joined, the traceback is made into text, and both are redacted, so
    that no formatter can bring a secret back.
    """

    def __init__(self, redactor: Redactor = REDACTOR) -> None:
        super().__init__()
        self._redactor = redactor

    def filter(self, record: logging.LogRecord) -> bool:
        """Changes `record` in place; never drops it."""
        redact = self._redactor.redact
        try:
            message = record.getMessage()
        except (TypeError, ValueError, KeyError):
            message = f"{record.msg} {record.args!r}"
        record.msg, record.args = redact(message), ()
        if record.exc_info and record.exc_info[1]:
            record.exc_text = bug_trace(record.exc_info[1], self._redactor)
        record.exc_info = None
        if record.stack_info:
            record.stack_info = redact(record.stack_info)
        return True


class OneLine(logging.Formatter):
    """A log record is one line, whatever remote text is in it."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one safe line."""
        return safe_text(super().format(record))
