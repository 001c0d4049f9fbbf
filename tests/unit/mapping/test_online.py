"""What `kisi check --online` says of mapped tenants."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from kisi.errors import SourceError
from kisi.mapping.validator import SystemValidator, check_tenants
from kisi.model import CountingRules, Finding, Key, Level, Reading, TenantRef
from tests.unit.build import (
    COMPANY,
    NOW,
    SPLIT_ROW,
    TODAY,
    device,
    key,
    mapping,
    reading,
    row,
    tenant,
)
from tests.unit.fakes import FakeSource


@dataclass
class Source(FakeSource):
    """A source with a server, that may refuse to list devices."""

    place: tuple[str, int] | None = ("ksc.example.com", 13299)
    denied: SourceError | None = None

    def address(self) -> tuple[str, int] | None:
        return self.place

    def read(self, tenants, select) -> Iterator[tuple[TenantRef, Reading | SourceError]]:
        for ref, answer in super().read(tenants, select):
            denied = isinstance(answer, Reading) and answer.rows and self.denied
            yield ref, denied or answer


def source_of(*keys: Key, **more) -> Source:
    source = Source(**more)
    rows = [row("w0", one.serial) for one in keys if one.used != 0]
    source.add(reading([device("w0")], rows, keys))
    return source


def check(source: Source) -> list[Finding]:
    validator = SystemValidator({"hq": source}, {}, TODAY)
    rules = CountingRules()
    return list(check_tenants("hq", source, validator, mapping(SPLIT_ROW), NOW, rules))


def test_the_devices_of_one_key_in_use_are_read():
    source = source_of(key("K0", used=0), key("K1", used=4), key("K2"))
    (finding,) = check(source)
    assert finding == Finding(
        Level.OK,
        "sources.hq: reading devices was tried on Contoso, with key K1 (4 in use, 1 in its list).",
    )
    assert source.reads == [[COMPANY.tenants[0]]] * 2


def test_an_account_that_may_list_keys_and_no_devices_is_a_problem():
    denied = SourceError('Contoso: the right "Read" is missing.', remedy="Give it.")
    (finding,) = check(source_of(key(), denied=denied))
    assert finding == Finding(Level.PROBLEM, 'Contoso: the right "Read" is missing.', "Give it.")


def test_a_list_without_a_device_proves_little():
    source = Source()
    source.add(reading([], [], [key(used=4)]))
    (finding,) = check(source)
    assert finding.level is Level.NOTE
    assert "(4 in use, 0 in its list)" in finding.message


@pytest.mark.parametrize("keys", [(), (key(used=0),)])
def test_without_a_key_in_use_it_cannot_be_tried(keys):
    (finding,) = check(source_of(*keys))
    assert finding.level is Level.NOTE
    assert "could not be tried" in finding.message


def test_files_are_not_read_twice():
    source = source_of(key(used=4), place=None)
    assert check(source) == []
    assert len(source.reads) == 1


def test_a_tenant_that_cannot_be_read_is_a_problem_and_not_tried_again():
    source = Source(answers={tenant().ref: SourceError("No.", remedy="Later.")})
    first, second = check(source)
    assert first == Finding(Level.PROBLEM, "No.", "Later.")
    assert second.level is Level.NOTE


def test_a_disabled_tenant_is_to_be_enabled_and_a_missing_one_mapped_anew():
    source = source_of(key(used=4), disabled={COMPANY.tenants[0]})
    disabled, _ = check(source)
    assert "is disabled" in disabled.message
    assert disabled.remedy == "Enable it. If the client has left: kisi map leave cw:1042"
    missing, _ = check(Source())
    assert "has no tenant" in missing.message
    assert "Map the new tenant" in missing.remedy
