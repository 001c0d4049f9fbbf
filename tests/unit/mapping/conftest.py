from __future__ import annotations

import pytest

from tests.unit.mapping.sides import Sides


@pytest.fixture
def sides(tmp_path):
    """Contoso and Fabrikam on both sides, nobody mapped, one product."""
    sides = Sides(tmp_path / "mapping.toml")
    sides.hq.add("V1", "Contoso")
    sides.hq.add("V2", "Fabrikam GmbH")
    sides.cw.client("250", "Contoso Ltd", "1042")
    sides.cw.client("251", "Fabrikam", "1043")
    sides.cw.product("1200", "KES-ADV")
    return sides
