"""`kisi status`: what the journal knows, shown. Sends nothing, writes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from kisi import __version__
from kisi.cli.options import Format
from kisi.cli.output import Console, OutputOptions, explain_error, result, show
from kisi.errors import ExitCode, StateError
from kisi.journal import Billing, ClientRecord, Journal, RunState, Subject
from kisi.lock import is_running
from kisi.model import BillingMapping, Glob, Status
from kisi.redaction import safe_text
from kisi.render.export import status_csv, status_document
from kisi.render.status import (
    Client,
    Expiry,
    StatusView,
    readiness,
    ready_sentence,
    status_report,
)
from kisi.run.document import read_tenant, read_use
from kisi.run.setup import load
from kisi.transport import Clock

RUNS = 10
MANY_RUNS = 1000


@dataclass(frozen=True, slots=True)
class StatusQuery:
    """What the operator wants to see."""

    company: str | None = None
    since: datetime | timedelta | None = None
    failed: bool = False

    def matches(self, client: Client) -> bool:
        """Whether a client is asked for."""
        record = client.record
        named = self.company is None or Glob(self.company).matches(record.name)
        fine = record.status in {Status.READY, Status.OFF} and not record.guard
        return named and not (self.failed and fine)

    def nobody(self) -> str:
        """What to say where clients are known and none of them is asked for."""
        if self.company is None:
            return "No client failed or is held."
        trouble = " failed or is held" if self.failed else ""
        return f'No client with a name like "{self.company}"{trouble or " is known"}.'


def show_status(
    config: Path | None,
    console: Console,
    output: OutputOptions,
    query: StatusQuery,
    oldest: timedelta | None,
) -> ExitCode:
    """Shows how it stands; with `oldest`, the age that a proof may have, answers `--ready`."""
    view, problem = status_view(config, query)
    answer = None if oldest is None else readiness(view, oldest)
    detailed = console.verbose > 0 or query.company is not None
    table = output.format is Format.TABLE
    if answer is None or not table:
        whole = detailed or output.format is Format.HTML
        show(
            console,
            output,
            report=lambda: status_report(view, detailed=whole),
            document=lambda: status_document(view, answer),
            csv=lambda: status_csv(view),
        )
    if problem is not None:
        console.warn(explain_error(problem))
        return problem.exit_code
    if answer is None:
        return ExitCode.OK
    sentence = safe_text(ready_sentence(answer))
    if table:
        result(sentence, output.file)
    else:
        console.info(sentence)
    return ExitCode.OK if answer.ready else ExitCode.WITHHELD


def status_view(config: Path | None, query: StatusQuery) -> tuple[StatusView, StateError | None]:
    """Everything `kisi status` shows, and what is wrong with the journal, if anything.

    Raises:
        ConfigError: The files are wrong.
        StateError: The journal cannot be read at all.
    """
    settings, mapping = load(config)
    now = Clock().now()
    since = query.since
    if isinstance(since, timedelta):
        since = now - since
    elif since is not None and since.tzinfo is None:
        since = since.replace(tzinfo=settings.timezone)
    with Journal.open(settings.state_dir, readonly=True) as journal:
        # Nobody holds the lock: a run that has not ended never will.
        crashed = {} if is_running(settings.state_dir) else {RunState.RUNNING: RunState.CRASHED}
        runs = journal.last_runs(RUNS if since is None else MANY_RUNS, since)
        known = tuple(_clients(journal, mapping))
        last_run: Mapping[str, Any] | None = journal.latest(Subject.REPORT)
        certificates = journal.latest(Subject.CERTIFICATES) or ()
        unmapped = last_run.get("unmapped", {}) if last_run else {}
        view = StatusView(
            at=now,
            version=__version__,
            zone=settings.timezone,
            runs=tuple(replace(run, state=crashed.get(run.state, run.state)) for run in runs),
            clients=tuple(filter(query.matches, known)),
            nobody=query.nobody() if known else "",
            holds=journal.open_holds(),
            unmapped=tuple(map(read_use, unmapped.get("applications", ()))),
            unmapped_tenants=tuple(map(read_tenant, unmapped.get("tenants", ()))),
            keys=journal.keys(),
            certificates=tuple(
                Expiry(datetime.fromisoformat(one["expires"]), one["server"])
                for one in certificates
            ),
            unsettled=journal.pending(),
            last_run=last_run,
            problem=journal.problem.message if journal.problem else "",
        )
        return view, journal.problem


def _clients(journal: Journal, mapping: BillingMapping) -> Iterable[Client]:
    """The clients of the journal, and those that the mapping bills and no run has seen yet."""
    new = {(one.psa, one.agreement): one for one in mapping.companies if one.billing}
    for record in journal.clients():
        billed_on = (record.psa, record.agreement)
        if record.billing is Billing.ON:
            new.pop(billed_on, None)
        if billed_on not in new:
            lines = journal.line_history(record.name)
            mine = (x for x in lines if x.owned and (x.psa, x.agreement) == billed_on)
            yield Client(record, tuple(mine))
    for one in new.values():
        billed = (one.psa, one.company, one.agreement)
        yield Client(ClientRecord(one.name, *billed, Billing.ON, one.tenants))
