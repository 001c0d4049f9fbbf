"""`kisi map list --stale` and `kisi map renew`: what time has done to the mapping."""

from __future__ import annotations

from collections.abc import Sequence

from kisi.json_text import FORMAT_VERSION, Json
from kisi.mapping.agreements import Renewal
from kisi.mapping.stale import Fate, StaleEntry
from kisi.psa import PsaAgreement
from kisi.render.csv_text import csv_text
from kisi.render.report import Entry, Remark, Report, Section, Tone

_TONES = {Fate.ENDING: Tone.HELD, Fate.RENAMED: Tone.DIM}
_COLUMNS = ("client", "kind", "id", "fate", "ends", "reason", "remedy")


def stale_report(entries: Sequence[StaleEntry]) -> Report:
    """What is gone, renamed, inactive or about to end, client by client."""
    titles = dict.fromkeys(entry.client for entry in entries)
    return Report(
        "Stale mappings",
        tuple(
            Section(
                title or "All clients",
                items=tuple(_stale(entry) for entry in entries if entry.client == title),
            )
            for title in titles
        ),
    )


def _stale(entry: StaleEntry) -> Entry:
    tone = _TONES.get(entry.fate, Tone.BAD)
    mark = "✗" if tone is Tone.BAD else "·"
    label = f"{entry.kind} {entry.id}: {entry.reason}"
    return Entry(mark, tone, label, remarks=(Remark(entry.remedy, Tone.DIM),))


def stale_document(entries: Sequence[StaleEntry], missing: Sequence[str], code: int) -> Json:
    """The same as JSON data."""
    return {
        "format_version": FORMAT_VERSION,
        "exit_code": code,
        "stale": [
            {
                "client": entry.client or None,
                "kind": entry.kind,
                "id": entry.id,
                "fate": str(entry.fate),
                "ends": entry.ends.isoformat() if entry.ends else None,
                "reason": entry.reason,
                "remedy": entry.remedy,
            }
            for entry in entries
        ],
        "missing": list(missing),
    }


def stale_csv(entries: Sequence[StaleEntry]) -> str:
    """The same as a table."""
    return csv_text(
        _COLUMNS,
        (
            [
                entry.client,
                entry.kind,
                entry.id,
                str(entry.fate),
                entry.ends.isoformat() if entry.ends else None,
                entry.reason,
                entry.remedy,
            ]
            for entry in entries
        ),
    )


def renewals_report(renewals: Sequence[Renewal]) -> Report:
    """Each client with the agreement that ended and the one that takes its place."""
    moved = tuple(_moved(each) for each in renewals if each.successor)
    open_ = tuple(_open(each) for each in renewals if not each.successor)
    sections = (
        Section("To be moved to a new agreement", items=moved),
        Section("For you to decide", items=open_),
    )
    return Report("Renewals", tuple(section for section in sections if section.items))


def _moved(renewal: Renewal) -> Entry:
    old = renewal.old.id if renewal.old else renewal.client.agreement
    new = renewal.successor.id if renewal.successor else ""
    label = f"{renewal.client.name}: {old} → {new}"
    remarks = [Remark(f"before: {agreement_words(renewal.old)}", Tone.DIM)] if renewal.old else []
    if renewal.successor:
        remarks.append(Remark(f"now:    {agreement_words(renewal.successor)}", Tone.DIM))
    return Entry("~", Tone.CHANGE, label, remarks=tuple(remarks))


def _open(renewal: Renewal) -> Entry:
    client = renewal.client
    remarks = [Remark(f"choice: {agreement_words(each)}", Tone.DIM) for each in renewal.choices]
    if remarks:
        what = "several agreements could take its place"
        command = f"kisi map company {client.psa}:{client.agreement} --agreement ID"
        remarks.append(Remark(command, Tone.COMMAND))
    else:
        what = "no other agreement of the company runs today"
        remarks.append(Remark(f"Renew it in psa.{client.psa}, or switch billing off.", Tone.DIM))
    return Entry(
        "?", Tone.HELD, f"{client.name}, {client.agreement}: {what}", remarks=tuple(remarks)
    )


def agreement_words(agreement: PsaAgreement | None) -> str:
    """An agreement in a line: `1042 Managed Security (Managed), 2026-01-01 to 2026-12-31`."""
    if agreement is None:
        return "unknown to the PSA"
    kind = f" ({agreement.kind})" if agreement.kind else ""
    return f"{agreement.id} {agreement.name}{kind}, {_dates(agreement)}"


def _dates(agreement: PsaAgreement) -> str:
    if agreement.starts and agreement.ends:
        return f"{agreement.starts} to {agreement.ends}"
    if agreement.ends:
        return f"until {agreement.ends}"
    return f"since {agreement.starts}, no end" if agreement.starts else "no end"
