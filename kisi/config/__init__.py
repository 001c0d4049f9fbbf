"""`kisi.toml`, which people write: connections and rules, checked and turned into the model.

`read_partial_config` reads what is right of it, and `PartialConfig.checked` gives a `Config` or all
problems at once. A source or PSA declares its own section as a subclass of `Section` with the types
that are exported here.
"""

from __future__ import annotations

from kisi.config.load import (
    Config,
    Kinds,
    PartialConfig,
    Secrets,
    read_partial_config,
    resolve_all,
)
from kisi.config.settings import (
    FingerprintStr,
    Hours,
    LocalPath,
    SecretRef,
    Section,
    ServerUrl,
    Table,
    Text,
    Workers,
)

__all__ = [
    "Config",
    "FingerprintStr",
    "Hours",
    "Kinds",
    "LocalPath",
    "PartialConfig",
    "SecretRef",
    "Secrets",
    "Section",
    "ServerUrl",
    "Table",
    "Text",
    "Workers",
    "read_partial_config",
    "resolve_all",
]
