"""What the vendors' interface descriptions say, as far as tests look at it: see README.md here."""

import json
from pathlib import Path
from typing import Any


def interface_description(name: str) -> dict[str, Any]:
    """The excerpt `NAME.json` of this folder."""
    return json.loads((Path(__file__).parent / f"{name}.json").read_text(encoding="utf-8"))
