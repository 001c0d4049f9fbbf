"""`kisi explain`: a client, a run, and what was read of the client in it, shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from kisi.cli.output import Console, OutputOptions, show
from kisi.errors import ConfigError
from kisi.journal import ClientRecord, Journal
from kisi.render.explain import ExplainView, explain_report, of_application
from kisi.render.export import explain_csv, explain_document
from kisi.run.setup import load


def show_explanation(
    config: Path | None,
    console: Console,
    output: OutputOptions,
    company: str,
    run_id: int | None,
    application: str | None,
    *,
    devices: bool,
) -> None:
    """Shows a client's quantities in a run, by default the last that read the client.

    Raises:
        ConfigError: The files are wrong, or there is no such client, run or evidence.
        StateError: The journal cannot be read.
    """
    settings, _ = load(config)
    with Journal.open(settings.state_dir, readonly=True) as journal:
        if journal.problem is not None:
            raise journal.problem
        client = _client(journal.clients(unmapped=True), company)
        billed_on = (client.psa, client.agreement)
        usage = journal.usage_at(client.name, run_id)
        records = tuple(one for one in usage if (one.psa, one.agreement) == billed_on)
        newest = max((record.last_run for record in records), default=0)
        run = journal.run(newest if run_id is None else run_id)
        if run is None or not records:
            when = "yet" if run_id is None else f"as of run {run_id}"
            raise ConfigError(
                f"The journal holds no usage of {client.name} {when}.",
                remedy="`kisi status` lists the runs; evidence is kept for `evidence_days`.",
            )
        lines = []
        for line in journal.line_history(client.name):
            known = tuple(one for one in line.quantities if one.first_run <= run.id)
            if known and (line.psa, line.agreement) == billed_on:
                lines.append(replace(line, quantities=known))
        view = ExplainView(client, run, settings.timezone, tuple(lines), records)
    view = of_application(view, application) if application else view
    show(
        console,
        output,
        report=lambda: explain_report(view, devices=devices),
        document=lambda: explain_document(view),
        csv=lambda: explain_csv(view),
    )


def _client(clients: Sequence[ClientRecord], wanted: str) -> ClientRecord:
    """The client called so; else the only one whose name holds these words."""
    name = wanted.casefold()
    found = [one for one in clients if one.name.casefold() == name]
    found = found or [one for one in clients if name in one.name.casefold()]
    if len(found) == 1:
        return found[0]
    if found:
        listed = ", ".join(f"{one.name} ({one.psa}, agreement {one.agreement})" for one in found)
        raise ConfigError(
            f"{len(found)} clients match {wanted!r}: {listed}.",
            remedy="Name one of them in full; two rows of one name need different names.",
        )
    if not clients:
        raise ConfigError(
            f"The journal knows no client yet, so not {wanted!r} either.",
            remedy="Run `kisi sync` first: what it stores of each client is explained here.",
        )
    near = get_close_matches(wanted, [one.name for one in clients], n=3)
    raise ConfigError(
        f"The journal knows no client {wanted!r}.",
        remedy="Did you mean " + ", ".join(near) + "?" if near else "`kisi status -v` lists them.",
    )
