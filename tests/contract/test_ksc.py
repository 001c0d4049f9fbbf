"""Kaspersky Security Center keeps the contract of a source, over real sockets and TLS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from kisi.model import TenantRef
from kisi.run.setup import SOURCES
from kisi.sandbox.certificate import Certificate
from kisi.sandbox.faults import Faults
from kisi.sandbox.http import Logged
from kisi.sandbox.ksc import Ksc
from kisi.sandbox.world import Client, World
from kisi.sources import UsageSource
from kisi.transport import Limits
from tests.contract.sources import APPLICATION, DisabledTenantContract, UsageSourceContract
from tests.unit.fakes import FakeClock


class KscStand:
    """The simulated Administration Server and kisi's source in front of it."""

    def __init__(self, stack: ExitStack, folder: Path, certificate: Certificate) -> None:
        self.clock = FakeClock()
        self.world = World(self.clock.now)
        self.server_side = Ksc(self.world)
        self.faults = Faults()
        self.log: list[Logged] = []
        self._server = self.server_side.serve(tls=certificate, faults=self.faults, log=self.log)
        self._stack = stack
        self._folder = folder
        self._clients: dict[str, Client] = {}
        stack.enter_context(self._server)
        self.source = self.reopen()

    def reopen(self) -> UsageSource:
        kind = SOURCES["ksc"]
        account = self.server_side.account
        settings = {
            "kind": "ksc",
            "url": self._server.url,
            "user": account.user,
            "fingerprints": [self._server.fingerprint],
        }
        self.source = kind.open(
            "hq",
            kind.settings.model_validate(settings),
            {"password": account.password},
            base=self._folder,
            clock=self.clock,
            limits=Limits(read=2.0),
        )
        self._stack.callback(self.source.close)
        return self.source

    def tenant(self, name: str, devices: int, *, application: str = APPLICATION) -> TenantRef:
        client = self.world.client(name, application=application, workstations=devices)
        self._clients[client.tenant] = client
        return TenantRef("hq", client.tenant)

    def add_devices(self, ref: TenantRef, number: int) -> None:
        self.client(ref).add_devices("server", number)

    def rename(self, ref: TenantRef, name: str) -> TenantRef:
        self.client(ref).server.name = name
        return ref

    def remove(self, ref: TenantRef) -> None:
        self.world.servers.remove(self.client(ref).server)

    def disable(self, ref: TenantRef) -> None:
        self.client(ref).server.enabled = False

    def close_source(self) -> None:
        self._server.close()

    def client(self, ref: TenantRef) -> Client:
        return self._clients[ref.tenant]

    def twist(self, ref: TenantRef, method: str, **how: object) -> None:
        match = f"{method}@{self.client(ref).server.name}"
        self.faults.add("twist", match=match, times=None, **how)

    def strike(self, ref: TenantRef, kind: str, method: str, **how: object) -> None:
        match = f"{method}@{self.client(ref).server.name}"
        self.faults.add(kind, match=match, times=None, **how)

    def forbid(self, ref: TenantRef) -> None:
        self.client(ref).server.readable = False

    def repair(self) -> None:
        self.faults.clear()
        for client in self._clients.values():
            client.server.readable = True


def _twisted(method: str, **how: object):
    return lambda stand, ref: stand.twist(ref, method, **how)


def _struck(kind: str, method: str, **how: object):
    return lambda stand, ref: stand.strike(ref, kind, method, **how)


KEYS, USES = "LicenseKeys.EnumKeys", "LicenseKeys.AcquireKeyHosts"
HOSTS, NEXT = "HostGroup.FindHosts", "GroupSyncIterator.GetNextItems"


TROUBLES = {
    "the list of keys is cut": _twisted(KEYS, cut=1),
    "the uses of a key are cut": _twisted(USES, cut=1),
    "the devices are cut": _twisted(HOSTS, cut=1),
    "more uses are announced": _twisted(USES, announced=121),
    "fewer uses are announced": _twisted(USES, announced=119),
    "an iterator dies": _twisted(USES, dies_after=0),
    "the session dies again and again": _twisted("Session.StartSession", dies_after=3),
    "another virtual server answers": _twisted("Session.StartSession", server="Coho"),
    "the main server answers": _twisted("Session.StartSession", server=""),
    "our account has no rights there": lambda stand, ref: stand.forbid(ref),
    "it answers 500 for ever": _struck("status", USES, code=500),
    "every answer is cut": _struck("truncate", NEXT),
    "every answer is lost": _struck("lost", NEXT),
    "it answers with a web page": _struck("html", HOSTS),
    "it answers with nothing": _struck("empty", KEYS),
    "the login is refused there": _struck("status", "Session.StartSession", code=401),
}


@pytest.fixture(scope="module")
def certificate() -> Certificate:
    return Certificate.make()


@pytest.fixture
def stand(tmp_path: Path, certificate: Certificate) -> Iterator[KscStand]:
    with ExitStack() as stack:
        yield KscStand(stack, tmp_path, certificate)


class TestKsc(UsageSourceContract, DisabledTenantContract):
    """Every rule, on the simulated Kaspersky Security Center."""

    fail_alone = True
    troubles = TROUBLES

    def test_a_tenant_is_known_by_its_uid_whatever_it_is_called(self, stand):
        ref = stand.tenant("Contoso", 2)
        assert stand.rename(ref, "Fabrikam") == ref
        stand.reopen()
        (tenant,) = stand.source.tenants()
        assert (tenant.ref, tenant.name) == (ref, "Fabrikam")

    def test_nobody_logs_in_to_a_disabled_virtual_server(self, stand):
        stand.disable(stand.tenant("Contoso", 2))
        tenants = stand.source.tenants()
        self.read(stand, tenants=tenants)
        logins = [one for one in stand.log if one.path.endswith("Session.StartSession")]
        assert len(logins) == 1

    def test_every_session_and_iterator_is_given_back(self, stand):
        for name in ("Contoso", "Fabrikam"):
            stand.tenant(name, 3)
        self.whole(stand)
        stand.source.close()
        assert stand.server_side.open_sessions == []
        assert stand.server_side.open_iterators == []
        assert stand.server_side.violations == []
