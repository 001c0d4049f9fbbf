"""Tigerpaw as a `kisi.psa.Psa`: two reads and a judgement a client, one read of its charges.

What is public says neither whether a submit changes one charge or replaces the agreement's whole
list, nor whether a repeat is safe. So `kisi.apply` compares all charges after each write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from pathlib import Path

from kisi.errors import ConfigError, PsaError
from kisi.model import Agreement, Finding, Hold, PlannedLine, WriteResult, WriteStatus
from kisi.psa import ProbeStep
from kisi.psa.tigerpaw.checks import check_online, probe_steps
from kisi.psa.tigerpaw.read import Reads
from kisi.psa.tigerpaw.rest import KeysRefused, Rest
from kisi.psa.tigerpaw.settings import TigerpawSettings
from kisi.psa.tigerpaw.soap import Soap, charge_values, load_template
from kisi.transport import Client, Clock, Limits


class Tigerpaw(Reads):
    """One Tigerpaw. Made by `open_psa`; `soap` is None in report mode."""

    workers = 1
    """Nothing is published about rate limits or parallel submits."""
    accounts_word = "account"
    if_others_change = (
        "Compare the charges in Tigerpaw with what `kisi check` shows from before, and restore "
        "them. If nobody edited the agreement at that moment, the template does not do what it "
        "should: set soap_template_verified = false and compare it with the vendor's SOAP guide. "
        "Then run `kisi check --repair`: until then kisi sends nothing to this Tigerpaw."
    )

    def __init__(
        self,
        name: str,
        settings: TigerpawSettings,
        *,
        client: Client,
        rest: Rest,
        soap: Soap | None,
        clock: Clock,
    ) -> None:
        super().__init__(name, settings, rest, clock)
        self._client = client
        self._soap = soap

    def clock_skew(self) -> timedelta | None:
        """How far this machine's clock is ahead of Tigerpaw's."""
        return self._client.skew

    def withheld(self) -> Hold | None:
        """Every write is held in report mode, and without a proven template."""
        if self._settings.write == "report":
            return Hold(
                "report",
                f"{self._rest.label} is set to report: kisi shows the exact change and sends "
                "nothing.",
                'Make the change in Tigerpaw by hand, or let kisi write: write = "soap" in '
                f"[psa.{self.name}] (docs/tigerpaw.md says what to prove first).",
            )
        if not self._settings.soap_template_verified:
            return Hold(
                "template",
                f"Nobody has proven yet that the SOAP template of {self._rest.label} changes one "
                "charge and leaves all others alone, so kisi sends nothing.",
                "Run `kisi check --probe-tigerpaw AGREEMENT` on a scratch agreement; if it "
                f"passes, set soap_template_verified = true in [psa.{self.name}].",
            )
        return None

    def write(self, line: PlannedLine, agreement: Agreement, today: date) -> WriteResult:  # noqa: ARG002
        """Submits one charge. A new one is refused unsent if its item is missing or inactive.

        There is no date to give: the quantity counts for whatever Tigerpaw bills next. A charge
        keeps what it had when `lines` read it last.
        """
        hold = self.withheld()
        if hold or not self._soap:
            reason = hold.reason if hold else f"{self._rest.label} has no SOAP login."
            return WriteResult(WriteStatus.REJECTED, reason)
        try:
            charge = self._to_submit(line)
        except KeysRefused as error:
            message = f"{error.message} Nothing was sent."
            return WriteResult(WriteStatus.REJECTED, message, denied=True)
        except PsaError as error:
            return WriteResult(WriteStatus.NOT_SENT, f"{error.message} Nothing was sent.")
        if isinstance(charge, WriteResult):
            return charge
        self._counted.pop(line.agreement, None)
        return self._soap.submit(charge)

    def _to_submit(self, line: PlannedLine) -> dict[str, object] | WriteResult:
        if line.line_id is None:
            item = self.products([line.product]).get(line.product)
            if item is not None and item.active:
                return charge_values(line, None, line.description or item.name)
            state = "is inactive in the price book" if item else "is not in the price book"
            return WriteResult(
                WriteStatus.REJECTED,
                f"Item {line.product} {state} of {self._rest.label}. Nothing was sent: a new "
                "charge needs an active item (Tigerpaw's ItemId, in the same case).",
            )
        known = self._charges.get(line.agreement)
        listed = self.lines(line.ref) if known is None else known
        own = next((charge for charge in listed if charge.id == line.line_id), None)
        if own is None:
            said = f"Charge {line.line_id} of agreement {line.agreement} is no longer there."
            return WriteResult(WriteStatus.STALE, f"{said} Nothing was sent.")
        return charge_values(line, own, "")

    def check_online(self, agreement: str | None) -> tuple[Finding, ...]:  # noqa: ARG002
        """Keys, clock, database and rights, for `kisi check --online`; changes nothing.

        Nothing here needs a mapped agreement.
        """
        return check_online(self._rest, self._settings, self._clock)

    def probe(
        self, agreement: str, item: str, confirm: Callable[[str], bool]
    ) -> Iterator[ProbeStep]:
        """Prove the SOAP template on a scratch agreement, for `kisi check --probe-tigerpaw`.

        `item` is the price book `ItemId` to make a charge of; `confirm` asks a person before the
        first write.

        Raises:
            ConfigError: kisi has no SOAP login, because `write` is `report`.
            PsaError: The agreement could not be read, or does not exist.
        """
        if self._soap is None:
            raise ConfigError(
                f"The probe of {self._rest.label} needs the SOAP login, which kisi has only with "
                'write = "soap".',
                remedy=f'Set write = "soap" in [psa.{self.name}] and leave soap_template_verified '
                "= false: nothing is written but the probe.",
            )
        record = self._agreement(agreement) if agreement.isdigit() else None
        if record is None:
            raise PsaError(f"{self._rest.label} has no agreement {agreement:.40}.")
        self._counted.clear()
        return probe_steps(self, self._soap, record, item, confirm)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def open_psa(
    name: str,
    settings: TigerpawSettings,
    secrets: Mapping[str, str],
    *,
    base: Path,
    clock: Clock,
    limits: Limits,
) -> Tigerpaw:
    """The Tigerpaw of `[psa.NAME]`; sends nothing yet.

    `secrets` are `public_key` and `private_key`, and with `write = "soap"` also `soap_user` and
    `soap_password`, resolved. `base` is the folder that the template's path starts from.

    Raises:
        ConfigError: The template of a charge is unusable.
    """
    template = load_template(
        base / settings.soap_template if settings.soap_template else None,
        place=f"kisi.toml: [psa.{name}] soap_template: ",
    )
    label = f"Tigerpaw (psa.{name})"
    client = Client(settings.url, limits=limits, clock=clock, label=label)
    keys = (secrets["public_key"], secrets["private_key"])
    rest = Rest(client, *keys, clock=clock, label=label, first_row=settings.first_row)
    soap = None
    if settings.write == "soap":
        login = (secrets["soap_user"], secrets["soap_password"])
        soap = Soap(client, settings.soap_path, login, label, template, settings.soap_escaped)
    return Tigerpaw(name, settings, client=client, rest=rest, soap=soap, clock=clock)
