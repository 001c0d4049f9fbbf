"""Kaspersky Security Center: usage of licence keys per virtual Administration Server.

Read over its OpenAPI (https://support.kaspersky.com/help/KSC/16/KSCAPI/): `settings` is the section
of kisi.toml, `wire` the JSON, `problems` the errors, `session` logins and calls, `lists` lists that
arrive whole or not at all, `records` what they hold, `reader` one virtual server, `logins` the
protection of the account, and `source.KscSource` puts them behind `kisi.sources.UsageSource`.
Pages named `KSC/14 a00511` are `https://support.kaspersky.com/help/KSC/14/KSCAPI/a00511.html`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kisi.sources.ksc.session import OpenApi
from kisi.sources.ksc.settings import KscSettings
from kisi.sources.ksc.source import KscSource
from kisi.sources.ksc.wire import Account
from kisi.transport import Client, Clock, Limits, Trust

__all__ = ["SETTINGS", "KscSettings", "KscSource", "open_source"]

SETTINGS = KscSettings


def open_source(
    name: str,
    settings: KscSettings,
    secrets: Mapping[str, str],
    *,
    base: Path,
    clock: Clock,
    limits: Limits,
) -> KscSource:
    """The Administration Server of `[sources.NAME]`; sends nothing yet.

    Args:
        name: The section's name.
        settings: The section.
        secrets: `password`, resolved.
        base: The folder that relative paths start from.
        clock: For time-outs and the time of readings.
        limits: For every request.

    Raises:
        ConfigError: A pinned certificate cannot be read.
    """
    trust = Trust(
        ca_files=tuple(base / path for path in settings.ca_files),
        fingerprints=settings.fingerprints,
    )
    client = Client(
        settings.url, trust=trust, limits=limits, clock=clock, label=f"Security Center ({name})"
    )
    account = Account(
        user=settings.user,
        password=secrets["password"],
        domain=settings.domain,
        internal=settings.internal_user,
    )
    api = OpenApi(client, account, clock)
    return KscSource(name, client, api, clock=clock, workers=settings.workers)
