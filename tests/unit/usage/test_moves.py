from kisi.model import Application, Move, TenantUsage
from kisi.usage import count_tenant, moves
from tests.unit.build import KES, device, key, reading, row, tenant, terms

EDR = "Kaspersky Next EDR Optimum"


def used(advanced=(), edr=(), of=None) -> TenantUsage:
    """A tenant in which these devices use the one application, and those the other."""
    return count_tenant(
        reading(
            [device(name) for name in sorted({*advanced, *edr})],
            [*(row(name) for name in advanced), *(row(name, "K2") for name in edr)],
            [key(), key("K2", EDR)],
            of=of,
        ),
        terms(Application(KES), Application(EDR)),
    )


def test_devices_that_changed_their_licence_have_moved():
    then, now = used("abcd", "x"), used("a", "bcx")
    assert moves([then], [now], KES) == (Move(KES, EDR, 2),)


def test_a_device_that_had_both_has_not_moved_when_it_loses_one():
    assert moves([used("ab", "ab")], [used("", "ab")], KES) == ()


def test_a_device_that_has_both_from_now_on_has_not_moved():
    assert moves([used("ab")], [used("ab", "ab")], KES) == ()


def test_other_devices_are_not_those_that_went():
    assert moves([used("ab")], [used("", "cd")], KES) == ()


def test_devices_move_also_between_the_tenants_of_a_client_but_not_between_sources():
    south, elsewhere = tenant(uid="VSRV-2"), tenant(source="other")
    before = [used("ab"), used("", "x", of=south)]
    assert moves(before, [used(), used("", "abx", of=south)], KES) == (Move(KES, EDR, 2),)
    assert moves([used("ab")], [used("", "ab", of=elsewhere)], KES) == ()


def test_without_evidence_of_then_nothing_is_known_to_have_moved():
    assert moves([], [used("", "ab")], KES) == ()


def test_devices_that_are_not_counted_do_not_move():
    now = count_tenant(
        reading(
            [device("a")],
            [row("a", "K2", current=False)],
            [key(), key("K2", EDR)],
        ),
        terms(Application(KES), Application(EDR)),
    )
    assert moves([used("a")], [now], KES) == ()
