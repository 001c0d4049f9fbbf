"""The kinds of sources there are. A new one is a module with `SETTINGS` and `open_source`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from kisi.config.settings import Section
from kisi.sources import UsageSource, business_hub, ksc
from kisi.transport import Clock, Limits


class SourceModule(Protocol):
    """What a module that implements a source declares."""

    @property
    def SETTINGS(self) -> type[Section]:  # noqa: N802 - a constant of the module
        """The settings of its section in kisi.toml."""

    def open_source(
        self,
        name: str,
        settings: Any,  # noqa: ANN401 - each module's own settings class
        secrets: Mapping[str, str],
        *,
        base: Path,
        clock: Clock,
        limits: Limits,
    ) -> UsageSource:
        """Makes the source of one `[sources.NAME]` section; sends nothing yet."""


SOURCES: Mapping[str, SourceModule] = {"ksc": ksc, "business-hub": business_hub}
"""Kind to module."""
