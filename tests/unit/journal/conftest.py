from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kisi.journal import Journal


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal.open(tmp_path / "state") as opened:
        yield opened
