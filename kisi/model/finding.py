"""What `kisi check` found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How a finding of `kisi check` ends."""

    OK = "ok"
    NOTE = "note"
    """Nothing is wrong, or it could not be proven."""
    WARNING = "warning"
    """It works, and someone should know."""
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked: in whole sentences what is so, and what to do about it."""

    level: Level
    message: str
    remedy: str = ""
