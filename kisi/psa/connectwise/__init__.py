"""ConnectWise Manage (ConnectWise PSA): lines are Agreement Additions.

`adapter.ConnectWise` is the `kisi.psa.Psa`. `docs/connectwise.md` says what is assumed about
ConnectWise, and how to prove it on one's own system.
"""

from kisi.psa.connectwise.adapter import ConnectWise, ConnectWiseSettings, open_psa

SETTINGS = ConnectWiseSettings

__all__ = ["SETTINGS", "ConnectWise", "ConnectWiseSettings", "open_psa"]
