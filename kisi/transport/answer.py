"""An HTTP answer that arrived whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

from kisi.errors import BadAnswer
from kisi.redaction import REDACTOR, remote_text

_NO_CONTENT = 204
_OPENING = 8192
"""Characters of a body that messages are made from."""
_READ = 2**18
"""Bytes of a body that secrets are looked for in: much more, so that none is cut in two."""


@dataclass(frozen=True)
class Answer:
    """Status, headers and the whole, decompressed body of an HTTP answer, whatever its status."""

    # Without slots: `cached_property` keeps the parsed body in the instance's dictionary.

    status: int
    headers: Mapping[str, str]
    """Case-insensitive where it comes from a `Client`."""
    body: bytes

    @property
    def content_type(self) -> str:
        """The media type in lower case, without parameters; empty if there is none."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    @property
    def broken(self) -> bool:
        """Whether a success carries a body that is no JSON though nothing else was announced.

        An HTML page counts as broken: proxies and maintenance pages answer 200 with one.
        """
        kind = self.content_type
        if not 200 <= self.status < 300 or self.status == _NO_CONTENT:
            return False
        if kind not in {"", "text/html", "application/json"} and not kind.endswith("+json"):
            return False
        try:
            self.json()
        except BadAnswer:
            return True
        return False

    def json(self) -> Any:  # noqa: ANN401  any JSON value
        """The body as JSON.

        Raises:
            BadAnswer: It is not JSON. The message holds the first characters of what came instead.
        """
        try:
            return self._document
        except (ValueError, RecursionError) as error:
            kind = self.content_type or "no content type"
            raise BadAnswer(
                f"Expected JSON, got status {self.status} with {kind}: {self.excerpt()!r}."
            ) from error

    @cached_property
    def _document(self) -> Any:  # noqa: ANN401  any JSON value
        return json.loads(self.body, parse_constant=_refuse)

    def excerpt(self, limit: int = 80) -> str:
        """The first `limit` characters of the body, for a message; see `remote_text`."""
        return remote_text(self.opening(), limit)

    def opening(self) -> str:
        """The beginning of the body as text, without our secrets."""
        return REDACTOR.opening(self.body[:_READ].decode("utf-8", "replace"), _OPENING)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
