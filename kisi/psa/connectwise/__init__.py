"""ConnectWise Manage (ConnectWise PSA): lines are Agreement Additions.

Settings are in `settings`, requests in `wire`, fields of records in `values`, refusals in `errors`,
reads in `read`, writes in `write`, the questions of `kisi check --online` in `checks`, and
`adapter.ConnectWise` puts them behind `kisi.psa.Psa`. `docs/connectwise.md` says what is assumed
about ConnectWise, and how to prove it on one's own system.
"""

from kisi.psa.connectwise.adapter import ConnectWise, open_psa
from kisi.psa.connectwise.settings import ConnectWiseSettings

SETTINGS = ConnectWiseSettings

__all__ = ["SETTINGS", "ConnectWise", "ConnectWiseSettings", "open_psa"]
