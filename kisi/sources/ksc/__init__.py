"""Kaspersky Security Center: usage of licence keys per virtual Administration Server.

Read over its OpenAPI (https://support.kaspersky.com/help/KSC/16/KSCAPI/): `openapi` has its JSON,
errors, logins and calls, `lists` lists that arrive whole or not at all and what they hold, `source`
the `kisi.sources.UsageSource` over all of them, `settings` its section of kisi.toml.
Pages named `KSC/14 a00511` are `https://support.kaspersky.com/help/KSC/14/KSCAPI/a00511.html`.
"""

from typing import TYPE_CHECKING

from kisi.lazy import lazy_names
from kisi.sources.ksc.settings import KscSettings

if TYPE_CHECKING:
    from kisi.sources.ksc.source import KscSource, open_source

SETTINGS = KscSettings

__all__ = ["SETTINGS", "KscSettings", "KscSource", "open_source"]
__getattr__ = lazy_names(__name__, {"source": "KscSource open_source"})
