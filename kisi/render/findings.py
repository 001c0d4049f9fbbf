"""What `kisi check` found, for people and programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kisi.json_text import Json, document, fields
from kisi.model import Finding, Level
from kisi.render.report import Entry, Remark, Report, Section, Tone

_MARKS = {
    Level.OK: ("✓", Tone.GOOD),
    Level.NOTE: ("·", Tone.DIM),
    Level.WARNING: ("!", Tone.HELD),
    Level.PROBLEM: ("✗", Tone.BAD),
}


@dataclass(frozen=True, slots=True)
class Area:
    """Findings about one thing, and the exit code that a problem there means."""

    title: str
    findings: tuple[Finding, ...]
    exit_code: int


def findings_report(areas: Sequence[Area], *, detailed: bool) -> Report:
    """All findings; what is fine only where it is asked for."""
    sections = (
        Section(
            area.title,
            items=tuple(_entry(f) for f in area.findings if detailed or f.level is not Level.OK),
        )
        for area in areas
    )
    return Report("Check", tuple(section for section in sections if section.items))


def _entry(finding: Finding) -> Entry:
    mark, tone = _MARKS[finding.level]
    remarks = (Remark(finding.remedy, Tone.DIM),) if finding.remedy else ()
    return Entry(mark, tone, finding.message, remarks=remarks)


def findings_document(areas: Sequence[Area], exit_code: int) -> Json:
    """The findings as JSON data."""

    def found(finding: Finding) -> Json:
        return {**fields(finding, "level message"), "remedy": finding.remedy or None}

    every = [{"title": x.title, "findings": [found(one) for one in x.findings]} for x in areas]
    return document({"exit_code": exit_code, "areas": every})
