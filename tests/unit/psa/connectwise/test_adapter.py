from __future__ import annotations

from kisi.psa import Psa
from tests.unit.psa.connectwise.conftest import connect


def test_connectwise_is_a_psa_that_withholds_nothing():
    psa: Psa = connect(workers=2)
    assert (psa.name, psa.workers, psa.accounts_word) == ("cw", 2, "company")
    assert psa.withheld() is None
    psa.close()
    psa.close()
