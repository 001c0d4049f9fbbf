"""The frame of every JSON document that kisi prints."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

FORMAT_VERSION = 1
"""Of every document; it stays as long as fields are only added."""

Json = dict[str, Any]


def dumps(document: Mapping[str, Any]) -> str:
    """JSON as kisi prints it: indented, and in ASCII, so that no encoding can harm it."""
    return json.dumps(document, indent=2, allow_nan=False) + "\n"
