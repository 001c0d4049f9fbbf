"""The sandbox as a whole: simulated servers on loopback, and a configuration that fits them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self

from kisi.sandbox.autotask import ADJUSTMENTS
from kisi.sandbox.configuration import Part, mapping_text, write
from kisi.sandbox.connectwise import ConnectWise
from kisi.sandbox.faults import Faults
from kisi.sandbox.http import Logged
from kisi.sandbox.ksc import Ksc
from kisi.sandbox.tigerpaw import SOAP_PATH
from kisi.sandbox.world import World

if TYPE_CHECKING:
    from kisi.sandbox.certificate import Certificate

_WRITES = {"POST", "PATCH", "PUT", "DELETE"}


class Sandbox:
    """Kaspersky Security Center and ConnectWise Manage, from `start` on.

    Args:
        world: What they serve; default: an empty one. `kisi.sandbox.demo` has a lively one.
        ksc_port: The port of Kaspersky Security Center; 0 takes a free one.
        cw_port: The port of ConnectWise Manage; 0 takes a free one.
        cw_tls: A certificate for ConnectWise, for clients that know only HTTPS.

    Attributes:
        world: To be changed at will, also while a client is at work.
        ksc: The simulated Kaspersky Security Center, with its switches.
        cw: The simulated ConnectWise Manage, with its switches.
        faults: What goes wrong, on all servers.
        log: Every request that reached a server, in order.
        parts: What is simulated; `add` adds to them.
    """

    def __init__(
        self,
        world: World | None = None,
        *,
        ksc_port: int = 0,
        cw_port: int = 0,
        cw_tls: Certificate | None = None,
    ) -> None:
        self.world = world or World()
        self.ksc = Ksc(self.world)
        self.cw = ConnectWise(self.world)
        self.faults = Faults()
        self.log: list[Logged] = []
        self.ksc_server = self.ksc.serve(port=ksc_port, faults=self.faults, log=self.log)
        self.cw_server = self.cw.serve(tls=cw_tls, port=cw_port, faults=self.faults, log=self.log)
        self.parts: list[Part] = [
            self.ksc.part(self.ksc_server),
            self.cw.part(self.cw_server),
        ]
        self._running = False

    def add(self, part: Part) -> None:
        """Simulate something more; its server (if any) lives as long as the others."""
        self.parts.append(part)
        if self._running and part.server:
            part.server.start()

    def start(self) -> Self:
        """Begin to serve."""
        self._running = True
        for part in self.parts:
            if part.server:
                part.server.start()
        return self

    def close(self) -> None:
        """End every server.

        Raises:
            ExceptionGroup: One of them had a bug.
        """
        self._running = False
        failures: list[Exception] = []
        for part in self.parts:
            try:
                if part.server:
                    part.server.close()
            except ExceptionGroup as failure:
                failures.append(failure)
        if failures:
            raise ExceptionGroup("The sandbox failed.", failures)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def requests(self, server: str = "connectwise", method: str | None = None) -> list[Logged]:
        """The requests that reached a server so far (with this HTTP method)."""
        return [
            logged
            for logged in list(self.log)
            if logged.server == server and method in {None, logged.method}
        ]

    @property
    def writes(self) -> list[Logged]:
        """The requests so far that ask a PSA to change something.

        Kaspersky Security Center is only ever read, Tigerpaw and Autotask searched, by POST too.
        """
        return [logged for logged in list(self.log) if _is_write(logged)]

    def write_config(self, directory: Path, *, mapping: bool = True) -> Path:
        """Write `kisi.toml`, secret files and, if wanted, `mapping.toml`, ready to be used.

        Args:
            directory: Where to; journal and lock will be in its folder `state`.
            mapping: False leaves out `mapping.toml`, as on a first day.

        Returns:
            The path of `kisi.toml`.
        """
        # The certificate may have been rotated since the part was made.
        self.parts[0] = self.ksc.part(self.ksc_server)
        rows = mapping_text(self.world.billing, self.world.clients) if mapping else None
        return write(directory, self.parts, rows)


def _is_write(logged: Logged) -> bool:
    if logged.server == "tigerpaw":
        return logged.path == SOAP_PATH
    if logged.server == "autotask":
        return logged.path.endswith(ADJUSTMENTS)
    return logged.server == "connectwise" and logged.method in _WRITES
