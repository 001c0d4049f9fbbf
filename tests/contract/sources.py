"""What every source must do: a concrete test class inherits `UsageSourceContract`, gives a `stand`.

The rules are those of `kisi.sources.UsageSource`: a tenant is handed over whole or as an error,
never in part; ids decide and names are decoration.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import ClassVar, Protocol

import pytest

from kisi.counting import CountingContext, Matcher, count_tenant
from kisi.errors import ExitCode, KisiError, SourceError
from kisi.model import Application, CountingRules, Key, Reading, Tenant, TenantRef
from kisi.sources import UsageSource
from tests.unit.fakes import FakeClock

HOSTILE = '=cmd|[bold red]Büro & Söhne[/] "x", \u202egnihtyreve 東京; 🏴\u200d☠️'
APPLICATION = "Kaspersky Endpoint Security for Business - Advanced"
OTHER_APPLICATION = "Kaspersky EDR Optimum"

Answer = Reading | KisiError


class SourceStand(Protocol):
    """A source, what it reads from, and what people do there."""

    source: UsageSource
    clock: FakeClock

    def tenant(self, name: str, devices: int, *, application: str = APPLICATION) -> TenantRef:
        """A new tenant with so many devices that use the application."""

    def add_devices(self, ref: TenantRef, number: int) -> None:
        """More devices of a tenant."""

    def rename(self, ref: TenantRef, name: str) -> TenantRef:
        """A person renames a tenant; returns what it is called by from now on."""

    def remove(self, ref: TenantRef) -> None:
        """A tenant disappears."""

    def close_source(self) -> None:
        """From now on nothing answers."""

    def repair(self) -> None:
        """Whatever was done to a tenant is over."""

    def reopen(self) -> UsageSource:
        """The source as the next run opens it; also `source` from now on."""


def everything(_key: Key) -> bool:
    return True


def nothing(_key: Key) -> bool:
    return False


def missing(name: str) -> Tenant:
    """A tenant of a source that the source does not have."""
    return Tenant(TenantRef(name, "VSRV-nobody"), "Nobody")


class UsageSourceContract:
    """Inherited by one test class a source."""

    troubles: ClassVar[Mapping[str, Callable[..., None]]]
    """What can be wrong with one tenant: a name, and what `stand` and the tenant's ref do it."""
    fail_alone: ClassVar[bool]
    """Whether a tenant's trouble is its own; false: it fails the whole source."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "trouble" in metafunc.fixturenames:
            metafunc.parametrize("trouble", self.troubles)

    def read(
        self,
        stand: SourceStand,
        select: Callable[[Key], bool] = everything,
        tenants: Collection[Tenant] | None = None,
    ) -> dict[TenantRef, Answer]:
        """Everything, or `tenants`, by ref; each is handed over once."""
        asked = stand.source.tenants() if tenants is None else tenants
        answers = list(stand.source.read(asked, select))
        found = dict(answers)
        assert len(found) == len(answers) == len(asked)
        assert found.keys() == {tenant.ref for tenant in asked}
        return found

    def whole(self, stand: SourceStand, **more) -> dict[TenantRef, Reading]:
        """As `read`, and none of them is an error."""
        found = self.read(stand, **more)
        errors = [answer for answer in found.values() if not isinstance(answer, Reading)]
        assert errors == []
        return {ref: answer for ref, answer in found.items() if isinstance(answer, Reading)}

    def counted(self, stand: SourceStand) -> dict[TenantRef, int]:
        """The devices that count, by tenant, as kisi bills them."""
        apps = (Application(APPLICATION), Application(OTHER_APPLICATION))
        context = CountingContext(
            Matcher(apps), frozenset(app.name for app in apps), CountingRules(), stand.clock.now()
        )
        found = self.whole(stand, select=context.selects)
        return {
            ref: sum(app.total for app in count_tenant(reading, context).applications)
            for ref, reading in found.items()
        }

    # --- whole ----------------------------------------------------------------------------------

    def test_it_has_the_name_of_its_section(self, stand):
        ref = stand.tenant("Contoso", 1)
        assert ref.source == stand.source.name

    def test_every_tenant_is_listed_with_its_id_and_name(self, stand):
        refs = {stand.tenant(name, 1): name for name in ("Contoso", "Fabrikam", "Ähre & Söhne")}
        tenants = stand.source.tenants()
        assert {tenant.ref: tenant.name for tenant in tenants} == refs
        assert all(tenant.enabled for tenant in tenants)

    def test_each_tenant_is_counted_down_to_its_last_device(self, stand):
        expected = {stand.tenant(f"Client {number}", number): number for number in range(1, 8)}
        assert self.counted(stand) == expected

    def test_a_reading_is_whole_in_itself(self, stand):
        ref = stand.tenant("Contoso", 12)
        stand.tenant("Fabrikam", 3)
        reading = self.whole(stand)[ref]
        assert reading.tenant.ref == ref
        assert len(reading.rows) == 12
        assert {row.device for row in reading.rows} == reading.devices.keys()
        assert {row.serial for row in reading.rows} <= {key.serial for key in reading.keys}
        assert reading.at.utcoffset() is not None
        assert all(device.id == name for name, device in reading.devices.items())

    def test_devices_of_two_tenants_are_never_mixed_up(self, stand):
        refs = [stand.tenant(name, 5) for name in ("Contoso", "Fabrikam")]
        found = self.whole(stand)
        first, second = (found[ref].devices.keys() for ref in refs)
        assert first.isdisjoint(second)

    def test_a_second_run_reads_the_same(self, stand):
        for name in ("Contoso", "Fabrikam"):
            stand.tenant(name, 4)
        first = self.whole(stand)
        stand.reopen()
        second = self.whole(stand)
        assert first.keys() == second.keys()
        for ref, reading in first.items():
            assert replace(second[ref], at=reading.at) == reading

    def test_what_changed_since_is_seen_by_the_next_run(self, stand):
        ref = stand.tenant("Contoso", 4)
        assert self.counted(stand) == {ref: 4}
        stand.add_devices(ref, 3)
        stand.reopen()
        assert self.counted(stand) == {ref: 7}

    # --- only what is asked ---------------------------------------------------------------------

    def test_only_the_tenants_that_are_asked_for_are_read(self, stand):
        ref = stand.tenant("Contoso", 2)
        stand.tenant("Fabrikam", 3)
        asked = [tenant for tenant in stand.source.tenants() if tenant.ref == ref]
        assert list(self.whole(stand, tenants=asked)) == [ref]

    def test_nobody_is_read_where_nobody_is_asked_for(self, stand):
        stand.tenant("Contoso", 2)
        assert list(stand.source.read([], everything)) == []

    def test_rows_are_only_of_selected_keys_and_keys_are_always_listed(self, stand):
        ref = stand.tenant("Contoso", 3, application=OTHER_APPLICATION)
        known = self.whole(stand)[ref].keys
        stand.reopen()
        left_out = self.whole(stand, select=nothing)[ref]
        assert left_out.rows == ()
        assert left_out.keys == known
        assert [key.name for key in known] == [OTHER_APPLICATION]

    def test_the_selection_is_asked_about_every_key(self, stand):
        stand.tenant("Contoso", 2)
        stand.tenant("Fabrikam", 2, application=OTHER_APPLICATION)
        seen: set[str] = set()

        def select(key: Key) -> bool:
            seen.add(key.name)
            return key.name == APPLICATION

        found = self.whole(stand, select=select)
        assert seen == {APPLICATION, OTHER_APPLICATION}
        assert sorted(len(reading.rows) for reading in found.values()) == [0, 2]

    # --- names ----------------------------------------------------------------------------------

    def test_a_hostile_name_is_only_a_name(self, stand):
        ref = stand.tenant(HOSTILE, 2)
        other = stand.tenant("Contoso", 3)
        assert {tenant.ref for tenant in stand.source.tenants()} == {ref, other}
        assert self.counted(stand) == {ref: 2, other: 3}

    def test_a_renamed_tenant_keeps_what_is_its_own(self, stand):
        ref = stand.tenant("Contoso", 2)
        other = stand.tenant("Fabrikam", 3)
        renamed = stand.rename(ref, "Contoso Holding")
        stand.reopen()
        assert self.counted(stand) == {renamed: 2, other: 3}

    # --- complete or failing, never partial -----------------------------------------------------

    def test_a_tenant_that_cannot_be_read_whole_is_an_error_never_a_part(self, stand, trouble):
        refs = [stand.tenant(name, 120) for name in ("Contoso", "Fabrikam", "Coho")]
        before, listed = self.whole(stand), stand.source.tenants()
        stand.reopen()
        self.troubles[trouble](stand, refs[1])
        found = self.read(stand, tenants=listed)
        failed = {ref for ref, answer in found.items() if not isinstance(answer, Reading)}
        assert failed == ({refs[1]} if self.fail_alone else set(refs))
        for ref in failed:
            self.proper(found[ref])
        for ref in found.keys() - failed:
            assert replace(found[ref], at=before[ref].at) == before[ref]

    def test_after_its_trouble_is_over_a_tenant_is_whole_again(self, stand, trouble):
        ref = stand.tenant("Contoso", 120)
        listed = stand.source.tenants()
        stand.reopen()
        self.troubles[trouble](stand, ref)
        self.proper(self.read(stand, tenants=listed)[ref])
        stand.repair()
        stand.reopen()
        assert self.counted(stand) == {ref: 120}

    def test_a_tenant_that_is_gone_is_not_listed_and_never_zero(self, stand):
        ref, other = stand.tenant("Contoso", 2), stand.tenant("Fabrikam", 3)
        listed = stand.source.tenants()
        stand.remove(ref)
        stand.reopen()
        assert {tenant.ref for tenant in stand.source.tenants()} == {other}
        found = self.read(stand, tenants=listed)
        self.proper(found[ref])
        assert isinstance(found[other], Reading)

    def test_a_tenant_that_never_was_is_an_error_and_takes_no_other_with_it(self, stand):
        ref = stand.tenant("Contoso", 2)
        nobody = missing(stand.source.name)
        found = self.read(stand, tenants=[nobody, *stand.source.tenants()])
        self.proper(found[nobody.ref])
        assert isinstance(found[ref], Reading)

    def test_where_nothing_can_be_read_everything_is_an_error(self, stand):
        stand.tenant("Contoso", 2)
        listed = stand.source.tenants()
        stand.reopen()
        stand.close_source()
        with pytest.raises(SourceError) as caught:
            stand.source.tenants()
        self.proper(caught.value)
        for answer in self.read(stand, tenants=listed).values():
            self.proper(answer)

    def proper(self, error: Answer) -> None:
        """An error that tells the operator what happened, and ends the run with 4."""
        assert isinstance(error, SourceError)
        assert error.exit_code is ExitCode.SOURCE
        assert error.message

    # --- the end --------------------------------------------------------------------------------

    def test_it_can_be_closed_twice_unused_and_after_a_failure(self, stand):
        stand.source.close()
        stand.source.close()
        stand.tenant("Contoso", 2)
        stand.reopen()
        stand.close_source()
        with pytest.raises(SourceError):
            stand.source.tenants()
        stand.source.close()
        stand.source.close()

    def test_reading_can_be_given_up_in_the_middle(self, stand):
        for number in range(6):
            stand.tenant(f"Client {number}", 2)
        reading = stand.source.read(stand.source.tenants(), everything)
        next(reading)
        reading.close()
        stand.source.close()


class DisabledTenantContract:
    """For sources whose tenants can be switched off."""

    def test_a_disabled_tenant_is_listed_as_one_and_cannot_be_read(self, stand):
        ref, other = stand.tenant("Contoso", 2), stand.tenant("Fabrikam", 3)
        stand.disable(ref)
        tenants = stand.source.tenants()
        assert {tenant.ref: tenant.enabled for tenant in tenants} == {ref: False, other: True}
        found = dict(stand.source.read(tenants, everything))
        assert isinstance(found[ref], SourceError)
        assert isinstance(found[other], Reading)
