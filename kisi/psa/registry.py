"""The kinds of PSAs there are. A new one is a module with `SETTINGS` and `open_psa`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from kisi.config.settings import Section
from kisi.psa import Psa, autotask, connectwise, tigerpaw
from kisi.transport import Clock, Limits


class PsaModule(Protocol):
    """What a module that implements a PSA declares."""

    @property
    def SETTINGS(self) -> type[Section]:  # noqa: N802 - a constant of the module
        """The settings of its section in kisi.toml."""

    def open_psa(
        self,
        name: str,
        settings: Any,  # noqa: ANN401 - each module's own settings class
        secrets: Mapping[str, str],
        *,
        base: Path,
        clock: Clock,
        limits: Limits,
    ) -> Psa:
        """Makes a section's PSA; sends nothing yet. Relative paths start from `base`."""


PSAS: Mapping[str, PsaModule] = {
    "autotask": autotask,
    "connectwise": connectwise,
    "tigerpaw": tigerpaw,
}
