"""Autotask PSA: lines are services of Recurring Service contracts, changed by adjustments.

`adapter.Autotask` is the `kisi.psa.Psa`. `docs/autotask.md` says what is assumed about Autotask,
and how to prove it on one's own system.
"""

from kisi.psa.autotask.adapter import Autotask, AutotaskSettings, open_psa

SETTINGS = AutotaskSettings

__all__ = ["SETTINGS", "Autotask", "AutotaskSettings", "open_psa"]
