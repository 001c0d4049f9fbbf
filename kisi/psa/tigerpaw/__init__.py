"""Tigerpaw: lines are the Additional Charges of an agreement.

Of its two APIs REST is used to read (`rest`, `records`), SOAP to write (`soap`).
`docs/tigerpaw.md` says what is assumed about Tigerpaw and how to prove it.
"""

from kisi.psa.tigerpaw.adapter import Tigerpaw, open_psa
from kisi.psa.tigerpaw.settings import TigerpawSettings

SETTINGS = TigerpawSettings

__all__ = ["SETTINGS", "Tigerpaw", "TigerpawSettings", "open_psa"]
