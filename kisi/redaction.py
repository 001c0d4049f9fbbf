"""Keeps secrets out of everything that is printed, logged or stored.

Every secret that `kisi.credentials` resolves is registered here. What leaves the process as text
then goes through `REDACTOR`, as a last line of defence behind code that puts no secret into a
message in the first place.
"""

from __future__ import annotations

import json
import logging
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from html import escape
from threading import Lock
from urllib.parse import quote, quote_plus

MASK = "***"
_SHORTEST = 4
"""A shorter secret is not replaced: it would shred the output, and the holes would show it."""
_SHORTEST_BASE64 = 6


class Redactor:
    """Replaces registered secrets in text, also in the encodings that protocols wrap them in.

    Of each secret these forms are known: itself, in JSON, in XML, percent-encoded, and its base64
    wherever in a longer base64 text it stands, so that the `Basic` credentials of a user and this
    secret are covered too. Safe to use from several threads.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._forms: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def add(self, secret: str) -> None:
        """Registers a secret. One of fewer than 4 characters is ignored."""
        if len(secret) < _SHORTEST:
            return
        with self._lock:
            self._forms.update(_forms(secret))
            longest_first = sorted(self._forms, key=len, reverse=True)
            self._pattern = re.compile("|".join(re.escape(form) for form in longest_first))

    def redact(self, text: str) -> str:
        """`text` with `***` in place of every registered secret."""
        pattern = self._pattern
        return pattern.sub(MASK, text) if pattern else text


def _forms(secret: str) -> Iterator[str]:
    yield secret
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield repr(secret)[1:-1]
    yield escape(secret)
    yield escape(secret, quote=False)
    for encode in (quote, quote_plus):
        encoded = encode(secret, safe="")
        yield encoded
        yield re.sub(r"%..", lambda code: code[0].lower(), encoded)
    for form in _base64_forms(secret.encode()):
        if len(form) >= _SHORTEST_BASE64:
            yield form


def _base64_forms(raw: bytes) -> Iterator[str]:
    """The characters that depend on `raw` alone, for each of the three places in a group of three.

    With `skip` bytes before it, the first characters also hold bits of those, and the last one may
    hold bits of what follows.
    """
    for skip in range(3):
        first = (skip * 8 + 5) // 6
        end = (skip + len(raw)) * 8 // 6
        for encode in (b64encode, urlsafe_b64encode):
            yield encode(bytes(skip) + raw).decode()[first:end]
    yield b64encode(raw).decode()


REDACTOR = Redactor()
"""The redactor of this process; `kisi.credentials.resolve` registers secrets with it."""


def remote_text(text: str, longest: int) -> str:
    """What a remote system said, fit for a message: on one line, without our secrets, then cut.

    A server may say our own credentials to us. Cut first, half a secret would not be found again.
    """
    line = " ".join(REDACTOR.redact(text).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


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
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        record.exc_info = None
        if record.exc_text:
            record.exc_text = redact(record.exc_text)
        if record.stack_info:
            record.stack_info = redact(record.stack_info)
        return True
