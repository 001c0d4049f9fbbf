"""Autotask PSA: lines are services of Recurring Service contracts, changed by adjustments.

`adapter.Autotask` is the `kisi.psa.Psa`. `docs/autotask.md` says what is assumed about Autotask,
and how to prove it on one's own system.
"""

from typing import TYPE_CHECKING

from kisi.lazy import lazy_names
from kisi.psa.autotask.settings import AutotaskSettings

if TYPE_CHECKING:
    from kisi.psa.autotask.adapter import Autotask, open_psa

SETTINGS = AutotaskSettings

__all__ = ["SETTINGS", "Autotask", "AutotaskSettings", "open_psa"]
__getattr__ = lazy_names(__name__, {"adapter": "Autotask open_psa"})
