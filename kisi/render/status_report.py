"""What `kisi status` shows a person."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta, tzinfo

from kisi.errors import ExitCode
from kisi.journal import RunState
from kisi.render.figures import day, moment, plural, quantity
from kisi.render.plan_report import earlier_entry, unmapped_section
from kisi.render.report import Cell, Grid, Item, Listing, Remark, Report, Section, Tone, row
from kisi.render.status_clients import client_detail, hold_sections, overview
from kisi.render.status_view import KeyExpiry, RunRow, StatusView
from kisi.render.words import ENDINGS, unmapped_as


def status_report(view: StatusView, *, detailed: bool = False) -> Report:
    """What an operator reads of the journal.

    Args:
        view: What the journal holds, already narrowed to what was asked for.
        detailed: Also every client that is as it should be, and the trend of each line.
    """
    return Report(
        title="kisi status",
        sections=tuple(_sections(view, detailed=detailed)),
        facts=(f"kisi {view.version}", moment(view.at, view.zone)),
        verdict=view.runs[0].last_line if view.runs else "",
    )


def _sections(view: StatusView, *, detailed: bool) -> Iterable[Section]:
    if view.problem:
        yield Section("Journal", (), (Remark(view.problem, Tone.BAD),), Tone.BAD)
    yield _runs(view)
    yield overview(view, told_below=detailed)
    if detailed:
        yield from (client_detail(client, view) for client in view.clients)
    yield from hold_sections(view.holds, view.zone)
    if view.unsettled:
        entries = tuple(earlier_entry(write, view.zone) for write in view.unsettled)
        yield Section("Writes of unknown outcome", (), entries, Tone.HELD)
    if view.unmapped:
        yield Section("Used, and billed by no row of mapping.toml", (), _unmapped(view), Tone.HELD)
    yield from unmapped_section(view.unmapped_tenants, ())
    if view.expiring_keys:
        yield Section("Keys that end within 30 days", (), (_keys(view),), Tone.HELD)
    if view.expiring_certificates:
        yield Section("Certificates that end within 30 days", (), (_certificates(view),), Tone.HELD)


def _runs(view: StatusView) -> Section:
    if not view.runs:
        return Section("Runs", (), (Remark("No run is in the journal. Next: `kisi sync`"),))
    headers = ("run", "began", "took", "command", "ended", "")
    rows = tuple(_run(run, view.zone) for run in view.runs)
    runs = Grid(headers, rows, right=frozenset({0, 2}), flexible=frozenset({3, 5}))
    newest = view.runs[0]
    said = (Remark(f"Run {newest.id}: {newest.last_line}", Tone.DIM),) if newest.last_line else ()
    return Section("Runs", (), (runs, *said))


def _run(run: RunRow, zone: tzinfo) -> tuple[Cell, ...]:
    took = "" if run.ended_at is None else _duration(run.ended_at - run.at)
    command = f"{run.command} {run.scope}".rstrip()
    return row(str(run.id), moment(run.at, zone), took, command, _ending(run), _came_to(run))


def _came_to(run: RunRow) -> str:
    counts = ((run.applied, "applied"), (run.held, "held"), (run.failed, "failed"))
    parts = [] if run.billed is None else [f"{run.current} of {run.billed} current"]
    return ", ".join([*parts, *(f"{number} {what}" for number, what in counts if number)])


def _ending(run: RunRow) -> Cell:
    if run.end is RunState.RUNNING:
        return Cell("running", Tone.CHANGE)
    if run.end is not RunState.FINISHED or run.exit_code is None:
        return Cell(run.end, Tone.BAD)
    if run.exit_code == ExitCode.OK:
        return Cell("0 done", Tone.GOOD)
    tone = Tone.HELD if run.exit_code == ExitCode.WITHHELD else Tone.BAD
    words = ENDINGS.get(ExitCode(run.exit_code), "") if run.exit_code in set(ExitCode) else ""
    return Cell(f"{run.exit_code} {words}".rstrip(), tone)


def _duration(took: timedelta) -> str:
    minutes, seconds = divmod(round(took.total_seconds()), 60)
    return f"{minutes}:{seconds:02d}"


def _unmapped(view: StatusView) -> tuple[Item, ...]:
    rows = tuple(
        (quantity(use.quantity), f"{use.company}: {unmapped_as(use)}") for use in view.unmapped
    )
    return (Listing("", rows), Remark("To bill it, or to say that it is not billed: `kisi map`"))


def _keys(view: StatusView) -> Listing:
    return Listing("", tuple((_end(key.expires, view), _key(key)) for key in view.expiring_keys))


def _key(key: KeyExpiry) -> str:
    used = "" if key.used is None else f", {key.used} in use"
    return f"{key.client}: {key.name} ({key.serial}{used})"


def _certificates(view: StatusView) -> Listing:
    ending = view.expiring_certificates
    return Listing("", tuple((_end(one.expires, view), one.server) for one in ending))


def _end(expires: datetime, view: StatusView) -> str:
    left = expires - view.at
    if left < timedelta(0):
        words = "has ended"
    else:
        words = f"in {plural(left.days, 'day')}" if left.days else "today"
    return f"{day(expires, view.zone)}, {words}"
