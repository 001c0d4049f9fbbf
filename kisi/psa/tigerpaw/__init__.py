"""Tigerpaw: lines are the Additional Charges of an agreement.

Tigerpaw has two APIs, and this package uses both: REST to read (`rest`, `records`, `read`), SOAP to
write (`soap`). `adapter` puts them behind `kisi.psa.Psa`, `checks` serves `kisi check`.
`docs/tigerpaw.md` says what is assumed about Tigerpaw and how to prove it.
"""

from kisi.psa.tigerpaw.adapter import Tigerpaw, open_psa
from kisi.psa.tigerpaw.settings import TigerpawSettings

SETTINGS = TigerpawSettings

__all__ = ["SETTINGS", "Tigerpaw", "TigerpawSettings", "open_psa"]
