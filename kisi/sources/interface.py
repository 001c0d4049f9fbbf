"""Where usage comes from: the protocol every source implements. `kisi.run.setup` names them all.

A source hands over each tenant whole, as one `Reading`, or raises `SourceError`; it never returns
part of a tenant. It decides nothing about billing: `kisi.counting` does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from datetime import timedelta
from typing import Protocol

from kisi.errors import KisiError
from kisi.model import Finding, Key, Reading, Tenant, TenantRef

Select = Callable[[Key], bool]
"""Says of a key whether its devices must be read. Injected: sources know no billing rules."""
Readings = Iterator[tuple[TenantRef, Reading | KisiError]]
"""Each tenant, as it arrives."""


class UsageSource(Protocol):
    """A Kaspersky system that tells what its tenants use; `name` is that of `[sources.NAME]`."""

    name: str

    def tenants(self) -> tuple[Tenant, ...]:
        """All tenants, also disabled ones, in the source's order; never a part of the list."""

    def read(self, tenants: Collection[Tenant], select: Select) -> Readings:
        """Reads each of `tenants` whole, in any order, as they arrive (several at once inside).

        One that cannot be read completely is handed over as the error that says why. Rows hold only
        keys for which `select` was true, and those that the source itself does not count.
        """

    def address(self) -> tuple[str, int] | None:
        """Host and port of the server whose certificate is the MSP's to renew; None if none is."""
        return None

    def clock_skew(self) -> timedelta | None:
        """How far this machine's clock is ahead of the server's; None: it does not say."""
        return None

    def check_online(self) -> tuple[Finding, ...]:
        """Reachability, login and clock, for `kisi check --online`. Never raises."""

    def close(self) -> None:
        """Ends sessions. Safe to call twice, and after a failure."""
