"""Lines that are not what they seem: nothing is added beside them, and nothing taken over in silence."""

from __future__ import annotations

from datetime import timedelta

import pytest

from kisi.sandbox.ksc_records import Device
from kisi.sandbox.world import Client
from tests.e2e.conftest import Operator


@pytest.mark.parametrize("doubt", ["begins later", "ended without a day"])
def test_a_line_that_kisi_did_not_write_and_that_may_bill_is_left_as_it_is(
    operator: Operator, doubt: str
):
    product = operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=10)
    fabrikam = operator.client("Fabrikam", workstations=3)
    line = operator.world.add_line(contoso.agreement_id, product, 10)
    if doubt == "begins later":
        line.effective_date += timedelta(days=60)
    else:
        line.called = "Expired"

    result = operator.sync()

    assert (result.code, len(contoso.additions)) == (6, 1)
    assert "Contoso (ambiguous: line 90001 of product" in result.last_line
    assert (line.quantity, fabrikam.quantities) == (10, {product: 3})
    assert operator.run("status", "--ready").code == 6

    line.cancelled_date = operator.world.now() - timedelta(days=1)
    assert operator.sync().code == 0
    assert contoso.quantities == {product: 10}


def test_devices_that_two_clients_count_in_one_run_are_billed_once(operator: Operator):
    """Nine of Contoso's ten devices move to Fabrikam while the run reads: both servers show them."""
    product = operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=10)
    fabrikam = operator.client("Fabrikam", workstations=10)
    operator.sync()
    moving = contoso.devices()[:9]
    for device in moving:
        fabrikam.server.devices.append(device)
        fabrikam.first_key.use(device)

    result = operator.sync()

    assert (result.code, result.holds("Fabrikam")) == (6, {str(product): "counted-twice"})
    assert (contoso.quantities, fabrikam.quantities) == ({product: 10}, {product: 10})
    assert operator.run("status", "--ready").code == 6

    operator.sync("--accept", result.company("Fabrikam")["plan_id"])
    assert fabrikam.quantities == {product: 19}


def test_devices_that_are_to_be_billed_twice_are_asked_for_again_only_if_they_are_more(
    operator: Operator,
):
    product = operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=20)
    fabrikam = operator.client("Fabrikam", workstations=20)
    operator.sync()
    both = _shared(contoso, fabrikam, 5)
    held = operator.sync()
    assert (held.code, held.holds("Fabrikam")) == (6, {str(product): "counted-twice"})
    assert operator.sync("--accept", held.company("Fabrikam")["plan_id"]).code == 0

    for client in (fabrikam, contoso):  # the same five, seen from either side
        operator.next_night()
        client.add_devices()
        assert operator.sync().code == 0
    assert (contoso.quantities, fabrikam.quantities) == ({product: 21}, {product: 26})
    verbose = operator.run("preview", "-v")
    assert "5 of its devices are counted in" in " ".join(verbose.out.split())

    operator.next_night()
    for device in both[:2]:  # two old records are deleted
        contoso.server.remove_device(device)
    assert operator.sync().code == 0
    assert contoso.quantities == {product: 19}
    operator.next_night()
    _shared(fabrikam, contoso, 2)
    held = operator.sync()
    assert (held.code, held.holds("Contoso")) == (6, {str(product): "counted-twice"})
    (line,) = held.company("Contoso")["lines"]
    assert line["hold"]["reason"].startswith("5 of its devices are counted in ")
    assert (contoso.quantities, fabrikam.quantities) == ({product: 19}, {product: 26})
    assert operator.sync("--accept", held.company("Contoso")["plan_id"]).code == 0
    operator.next_night()
    fabrikam.add_devices()
    assert operator.sync().code == 0
    assert (contoso.quantities, fabrikam.quantities) == ({product: 21}, {product: 27})


def _shared(client: Client, other: Client, number: int) -> list[Device]:
    """The first devices of a client are on another client's server too."""
    devices = client.devices()[:number]
    for device in devices:
        other.server.devices.append(device)
        other.first_key.use(device)
    return devices
