"""Tigerpaw: lines are the Additional Charges of an agreement.

Tigerpaw has two APIs, and this package uses both: REST to read (`rest`, `records`, `read`), SOAP to
write (`template`, `soap`, `snapshot`, `kept`, `snapshots`, `submission`, `write`). `adapter` puts
them behind `kisi.psa.Psa`; `checks` and `probe` serve `kisi check`. `docs/tigerpaw.md` says what is
assumed about Tigerpaw and how to prove it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kisi.psa.tigerpaw.adapter import Tigerpaw
from kisi.psa.tigerpaw.rest import Rest
from kisi.psa.tigerpaw.settings import TigerpawSettings
from kisi.psa.tigerpaw.snapshots import Snapshots
from kisi.psa.tigerpaw.soap import Soap
from kisi.psa.tigerpaw.template import load_template
from kisi.psa.tigerpaw.write import Writer
from kisi.transport import Client, Clock, Limits

__all__ = ["SETTINGS", "Tigerpaw", "TigerpawSettings", "open_psa"]

SETTINGS = TigerpawSettings


def open_psa(
    name: str,
    settings: TigerpawSettings,
    secrets: Mapping[str, str],
    *,
    base: Path,
    clock: Clock,
    limits: Limits,
    state: Path | None = None,
    settles: bool = False,
) -> Tigerpaw:
    """The Tigerpaw of `[psa.NAME]`; sends nothing yet.

    Args:
        name: The section's name.
        settings: The section.
        secrets: `public_key` and `private_key`, and with `write = "soap"` also `soap_user` and
            `soap_password`, resolved.
        base: The folder that relative paths start from.
        clock: For signatures and time-outs.
        limits: For every request.
        state: In its folder `snapshots` the charges from before a write are kept; default: `base`.
        settles: Whether reading may remove or mark the files there that an earlier run left.

    Raises:
        ConfigError: The template of a charge is unusable.
    """
    template = load_template(
        base / settings.soap_template if settings.soap_template else None,
        place=f"kisi.toml: [psa.{name}] soap_template: ",
    )
    label = f"Tigerpaw (psa.{name})"
    client = Client(settings.url, limits=limits, clock=clock, label=label)
    rest = Rest(
        client,
        secrets["public_key"],
        secrets["private_key"],
        clock=clock,
        label=label,
        first_row=settings.first_row,
    )
    snapshots = Snapshots(
        label, name, folder=(state or base) / "snapshots", item_field=settings.item_field
    )
    psa = Tigerpaw(
        name,
        settings,
        rest=rest,
        clock=clock,
        client=client,
        snapshots=snapshots,
        settles=settles,
    )
    if settings.write == "soap":
        soap = Soap(
            client,
            settings.soap_path,
            secrets["soap_user"],
            secrets["soap_password"],
            label=label,
            escaped=settings.soap_escaped,
        )
        psa.writer = Writer(
            read=psa.reads.charges,
            soap=soap,
            template=template,
            snapshots=snapshots,
            clock=clock,
        )
    return psa
