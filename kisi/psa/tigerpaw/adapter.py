"""Tigerpaw as a `kisi.psa.Psa`: two reads and a judgement a client, one read of its charges."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path

from kisi.errors import ConfigError, KisiError, PsaError
from kisi.model import (
    Agreement,
    AgreementRef,
    Finding,
    Hold,
    Line,
    PlannedLine,
    WriteResult,
    WriteStatus,
)
from kisi.psa import ProbeStep, PsaAgreement, PsaCompany, PsaProduct
from kisi.psa.tigerpaw.checks import check_online
from kisi.psa.tigerpaw.probe import Probe
from kisi.psa.tigerpaw.read import Reads, is_number, not_a_number, validate_agreement
from kisi.psa.tigerpaw.records import AgreementRecord, names_product
from kisi.psa.tigerpaw.rest import KeysRefused, Rest, Unusable
from kisi.psa.tigerpaw.settings import TigerpawSettings
from kisi.psa.tigerpaw.snapshot import Snapshot
from kisi.psa.tigerpaw.snapshots import Snapshots
from kisi.psa.tigerpaw.soap import Soap, load_template
from kisi.psa.tigerpaw.write import Writer
from kisi.transport import Client, Clock, Limits

_log = logging.getLogger(__name__)


class Tigerpaw:
    """One Tigerpaw. Made by `kisi.psa.tigerpaw.open_psa`.

    Args:
        name: The section name of `[psa.NAME]`.
        settings: That section.
        rest: What sends reads.
        snapshots: The files that tell what became of every submit.
        settles: Whether `lines` may remove or mark those that an earlier run left.
        client: The connection that `rest` and `writer` share; closed with this.
        clock: For the day of `all_agreements` and for `check_online`.

    Attributes:
        reads: What of Tigerpaw is read.
        writer: What writes; None in report mode.
    """

    workers = 1
    """Nothing is published about rate limits or parallel submits."""
    accounts_word = "account"

    def __init__(
        self,
        name: str,
        settings: TigerpawSettings,
        *,
        rest: Rest,
        snapshots: Snapshots,
        settles: bool,
        client: Client,
        clock: Clock,
    ) -> None:
        self.name = name
        self.settings = settings
        self.rest = rest
        self.reads = Reads(
            rest, external_product=settings.external_product, item_field=settings.item_field
        )
        self.writer: Writer | None = None
        self._counted: dict[str, int] = {}
        self._snapshots = snapshots
        self._settles = settles
        self._clock = clock
        self._client = client

    def withheld(self) -> Hold | None:
        """Every write is held after a foreign change, in report mode, without a proven template.

        Raises:
            StateError: Whether there was a foreign change cannot be read.
        """
        foreign = self._snapshots.hold()
        if foreign:
            return foreign
        if self.settings.write == "report":
            return Hold(
                "report",
                f"{self.rest.label} is set to report: kisi shows the exact change and sends "
                "nothing.",
                'Make the change in Tigerpaw by hand, or let kisi write: write = "soap" in '
                f"[psa.{self.name}] (docs/tigerpaw.md says what to prove first).",
            )
        if not self.settings.soap_template_verified:
            return Hold(
                "template",
                f"Nobody has proven yet that the SOAP template of {self.rest.label} changes one "
                "charge and leaves all others alone, so kisi sends nothing.",
                "Run `kisi check --probe-tigerpaw AGREEMENT` on a scratch agreement; if it "
                f"passes, set soap_template_verified = true in [psa.{self.name}].",
            )
        return None

    def agreements(
        self, refs: Collection[AgreementRef], today: date
    ) -> Mapping[AgreementRef, Agreement | KisiError]:
        """Each agreement, validated; two requests for each, one where its account was read before.

        Once the API as a whole cannot be used, the remaining agreements get that error unasked.
        """
        found: dict[AgreementRef, Agreement | KisiError] = {}
        accounts: dict[str, bool | None] = {}
        others: list[str] = []
        ended: Unusable | None = None
        for ref in refs:
            try:
                found[ref] = ended or self._validated(ref, today, accounts, others)
            except Unusable as error:
                if not found:
                    raise
                found[ref] = ended = error
            except PsaError as error:
                found[ref] = error
        if others:
            _log.warning(
                "%s: on %d of the mapped agreements another External Product than %r is set: %s. "
                "What that means is not documented; they are billed as mapped.",
                self.rest.label,
                len(others),
                self.settings.external_product,
                ", ".join(others[:10]),
            )
        return found

    def _validated(
        self,
        ref: AgreementRef,
        today: date,
        accounts: dict[str, bool | None],
        others: list[str],
    ) -> Agreement:
        unaskable = not_a_number(ref)
        if unaskable:
            return unaskable
        if ref.company not in accounts:
            accounts[ref.company] = self.reads.cross_referenced(ref.company)
        record = self.reads.agreement(ref.agreement)
        if record and record.number == ref.agreement:
            self._count(record)
        product = record.external_product if record else ""
        if product and not names_product({"Product": product}, self.settings.external_product):
            others.append(f"{ref.agreement} ({product:.40})")
        validated = validate_agreement(
            ref,
            record,
            cross_referenced=accounts[ref.company],
            external_product=self.settings.external_product,
            today=today,
        )
        return replace(
            validated,
            not_billable=validated.not_billable or self._snapshots.not_billable(ref.agreement),
        )

    def agreements_of(
        self, companies: Collection[str], today: date
    ) -> Mapping[str, tuple[Agreement, ...]]:
        """The agreements of each account that are active on `today`; one request an account.

        Cross references are not asked for: what an agreement bills does not depend on them.
        """
        found: dict[str, tuple[Agreement, ...]] = dict.fromkeys(companies, ())
        for account in found:
            known = self.reads.agreements_of(account) if is_number(account) else ()
            for record in known:
                ref = AgreementRef(self.name, account, record.number)
                validated = validate_agreement(
                    ref,
                    record,
                    cross_referenced=True,
                    external_product=self.settings.external_product,
                    today=today,
                )
                self._count(record)
                if not validated.gone:
                    found[account] += (validated,)
        return found

    def _count(self, record: AgreementRecord) -> None:
        """Keeps how many charges an agreement has: its list must not be shorter."""
        if record.charges is not None and self.settings.charges_counted:
            self._counted[record.number] = record.charges

    def lines(self, ref: AgreementRef, products: Collection[str] | None = None) -> tuple[Line, ...]:
        """All additional charges of one agreement, whatever `products` are; one request.

        The API has no filter. Where the list is to prove that there is no charge of `products`, the
        agreement must have counted its charges in this run and since the last submit to it; if it
        did not, it is asked once more.

        Raises:
            ForeignChange: They show it, where nobody has looked since a submit of this run or of
                an earlier one.
            PsaError: They could not be read, or are fewer than the agreement itself counted in this
                run, before anything was submitted to it.
        """
        if products is not None and ref.agreement not in self._counted:
            record = self.reads.agreement(ref.agreement) if is_number(ref.agreement) else None
            if record is not None and record.number == ref.agreement:
                self._count(record)
        charges = self.reads.charges(ref.agreement)
        counted = self._counted.get(ref.agreement, 0)
        if len(charges) < counted:
            raise PsaError(
                f"{self.rest.label} says that agreement {ref.agreement} has {counted} additional "
                f"charges and gave {len(charges)} of them.",
                remedy="Try again. If it keeps happening, compare AdditionalCharges of "
                f"/api/agreements/{ref.agreement} with the list of its additional charges; if it "
                f"counts something else, set `charges_counted = false` in [psa.{self.name}].",
            )
        now = Snapshot(ref.agreement, self._clock.now(), charges)
        self._snapshots.compare(now, settle=self._settles)
        return tuple(charge.line(ref.agreement) for charge in charges)

    def line(self, ref: AgreementRef, line_id: str) -> Line | None:
        """One additional charge by its number; one request."""
        if not (is_number(ref.agreement) and is_number(line_id)):
            return None
        charge = self.reads.charge(ref.agreement, line_id)
        return None if charge is None else charge.line(ref.agreement)

    def products(self, ids: Collection[str]) -> Mapping[str, PsaProduct]:
        """The named price book items; one request for each that was not read before in this run."""
        return self.reads.items(ids)

    def write(self, line: PlannedLine, agreement: Agreement, today: date) -> WriteResult:  # noqa: ARG002
        """Write one charge. A new one is refused unsent if its item is missing or inactive.

        There is no date to give: the quantity counts for whatever Tigerpaw bills next.

        Raises:
            ForeignChange: Another charge changed, with this submit or an earlier one of this run.
        """
        if self._snapshots.stopped:
            raise self._snapshots.stopped
        self._counted.pop(line.agreement, None)
        hold = self.withheld()
        if hold or not self.writer:
            reason = hold.reason if hold else f"{self.rest.label} has no SOAP login."
            return WriteResult(WriteStatus.REJECTED, reason)
        description = line.description
        if not line.line_id:
            try:
                item = self.products([line.product]).get(line.product)
            except KeysRefused as error:
                return WriteResult(
                    WriteStatus.REJECTED, f"{error.message} Nothing was sent.", denied=True
                )
            except PsaError as error:
                return WriteResult(WriteStatus.NOT_SENT, f"{error.message} Nothing was sent.")
            if item is None or not item.active:
                state = "is inactive in the price book" if item else "is not in the price book"
                return WriteResult(
                    WriteStatus.REJECTED,
                    f"Item {line.product} {state} of {self.rest.label}. Nothing was sent: a new "
                    "charge needs an active item (Tigerpaw's ItemId, in the same case).",
                )
            description = description or item.name
        return self.writer.write(line, description)

    def all_companies(self) -> tuple[PsaCompany, ...]:
        """Every account."""
        return self.reads.all_accounts()

    def all_agreements(self) -> tuple[PsaAgreement, ...]:
        """Every agreement."""
        return self.reads.all_agreements(self._clock.now().date())

    def all_products(self) -> tuple[PsaProduct, ...]:
        """Every price book item."""
        return self.reads.all_items()

    def check_online(self, agreement: str | None) -> tuple[Finding, ...]:  # noqa: ARG002
        """Keys, clock, database and rights, for `kisi check --online`; changes nothing.

        Nothing here needs a mapped agreement.
        """
        return check_online(self.rest, self.settings, self._clock)

    def probe(
        self, agreement: str, item: str, confirm: Callable[[str], bool]
    ) -> Iterator[ProbeStep]:
        """Prove the SOAP template on a scratch agreement, for `kisi check --probe-tigerpaw`.

        Args:
            agreement: The agreement's number.
            item: The price book `ItemId` to make a charge of.
            confirm: Asks a person before the first write.

        Raises:
            ConfigError: kisi has no SOAP login, because `write` is `report`.
            PsaError: The agreement could not be read, or does not exist.
        """
        if self.writer is None:
            raise ConfigError(
                f"The probe of {self.rest.label} needs the SOAP login, which kisi has only with "
                'write = "soap".',
                remedy=f'Set write = "soap" in [psa.{self.name}] and leave soap_template_verified '
                "= false: nothing is written but the probe.",
            )
        record = self.reads.agreement(agreement) if agreement.isdigit() else None
        if record is None:
            raise PsaError(f"{self.rest.label} has no agreement {agreement:.40}.")
        return Probe(self.writer, record.account, agreement, item, confirm).run()

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
