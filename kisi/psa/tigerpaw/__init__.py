"""Tigerpaw: lines are the Additional Charges of an agreement.

Of its two APIs REST is used to read (`rest`, `records`), SOAP to write (`soap`).
`docs/tigerpaw.md` says what is assumed about Tigerpaw and how to prove it.
"""

from typing import TYPE_CHECKING

from kisi.lazy import lazy_names
from kisi.psa.tigerpaw.settings import TigerpawSettings

if TYPE_CHECKING:
    from kisi.psa.tigerpaw.adapter import Tigerpaw, open_psa

SETTINGS = TigerpawSettings

__all__ = ["SETTINGS", "Tigerpaw", "TigerpawSettings", "open_psa"]
__getattr__ = lazy_names(__name__, {"adapter": "Tigerpaw open_psa"})
