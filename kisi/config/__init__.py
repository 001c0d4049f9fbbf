"""`kisi.toml`, which people write: connections and rules, checked and turned into the model.

`read_partial_config` reads what is right of it, and `PartialConfig.checked` gives a `Config` or all
problems at once. A source or PSA declares its own section with the types of `settings`.
"""

from __future__ import annotations

from kisi.config.load import Config, Invoice, Kinds, PartialConfig, read_partial_config, resolve_all

__all__ = ["Config", "Invoice", "Kinds", "PartialConfig", "read_partial_config", "resolve_all"]
