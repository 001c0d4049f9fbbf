"""Proof that an edited text means what it should: the old meaning plus exactly the change."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from typing import Any

from kisi.errors import ConfigError
from kisi.mapping.toml_text import BYTE_ORDER_MARK

_BY_HAND = "Make the change in an editor; `kisi check` says whether the file is right."


def meaning(text: str) -> dict[str, Any]:
    """What `tomllib` reads in the text.

    Raises:
        ConfigError: The text is not TOML.
    """
    try:
        return tomllib.loads(text.removeprefix(BYTE_ORDER_MARK))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(
            f"mapping.toml is not TOML: {error}. It was left as it is.",
            remedy="Correct it in an editor; `kisi check` says where it is wrong.",
        ) from error


def same(one: object, other: object) -> bool:
    """Whether two values differ only in layout; True and 1 do differ, and so do 1 and 1.0."""
    return _canonical(one) == _canonical(other)


def proven(text: str, wanted: Mapping[str, Any]) -> str:
    """`text`, if it means exactly `wanted`.

    Raises:
        ConfigError: It does not, or cannot be written as UTF-8.
    """
    try:
        text.encode("utf-8")
        means = tomllib.loads(text.removeprefix(BYTE_ORDER_MARK))
    except (UnicodeEncodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise _unsafe() from error
    if not same(means, wanted):
        raise _unsafe()
    return text


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=repr)


def _unsafe() -> ConfigError:
    return ConfigError(
        "mapping.toml is written in a way that kisi cannot change without touching something else. "
        "The file was left as it is.",
        remedy=_BY_HAND,
    )
