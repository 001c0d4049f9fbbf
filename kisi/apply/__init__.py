"""Brings the PSAs to the plan, and proves it: `phases` says what is written when, `write` how."""

from kisi.apply.phases import ApplyContext, ApplyResult, apply
from kisi.apply.write import SHOWN_AFTER

__all__ = ["SHOWN_AFTER", "ApplyContext", "ApplyResult", "apply"]
