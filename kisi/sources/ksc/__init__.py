"""Kaspersky Security Center: usage of licence keys per virtual Administration Server.

Read over its OpenAPI (https://support.kaspersky.com/help/KSC/16/KSCAPI/): `openapi` has its JSON,
errors, logins and calls, `lists` lists that arrive whole or not at all and what they hold, `source`
the section of kisi.toml and the `kisi.sources.UsageSource` over all of them.
Pages named `KSC/14 a00511` are `https://support.kaspersky.com/help/KSC/14/KSCAPI/a00511.html`.
"""

from kisi.sources.ksc.source import KscSettings, KscSource

SETTINGS = KscSettings
open_source = KscSource

__all__ = ["SETTINGS", "KscSettings", "KscSource", "open_source"]
