"""ConnectWise Manage (ConnectWise PSA): lines are Agreement Additions.

`adapter.ConnectWise` is the `kisi.psa.Psa`. `docs/connectwise.md` says what is assumed about
ConnectWise, and how to prove it on one's own system.
"""

from typing import TYPE_CHECKING

from kisi.lazy import lazy_names
from kisi.psa.connectwise.settings import ConnectWiseSettings

if TYPE_CHECKING:
    from kisi.psa.connectwise.adapter import ConnectWise, open_psa

SETTINGS = ConnectWiseSettings

__all__ = ["SETTINGS", "ConnectWise", "ConnectWiseSettings", "open_psa"]
__getattr__ = lazy_names(__name__, {"adapter": "ConnectWise open_psa"})
