"""What `kisi check` does: findings about everything that a run needs, without writing anything."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from kisi.cli.check_files import check_files
from kisi.cli.output import Console, OutputOptions, show
from kisi.config import Section
from kisi.config.load import Top
from kisi.errors import ConfigError, ExitCode, StateError, worst
from kisi.journal import Journal, repair
from kisi.json_text import document, fields
from kisi.lock import run_lock
from kisi.mapping.validator import (
    SystemValidator,
    check_lines,
    check_listed_twice,
    check_tenants,
)
from kisi.model import Finding, Level
from kisi.psa import Psa, SupportsProbe
from kisi.psa.registry import PSAS
from kisi.reconcile.new_lines import check_siblings
from kisi.redaction import safe_text
from kisi.render.formatting import plural
from kisi.render.report import Entry, Report, Tone, remarks
from kisi.render.report import Section as Part
from kisi.run.setup import Setup, config_path, load, opened
from kisi.sources.registry import SOURCES

_SOURCE_KINDS = {kind: module.SETTINGS for kind, module in SOURCES.items()}
_PSA_KINDS = {kind: module.SETTINGS for kind, module in PSAS.items()}
_MARKS = {
    Level.OK: ("✓", Tone.GOOD),
    Level.NOTE: ("·", Tone.DIM),
    Level.WARNING: ("!", Tone.HELD),
    Level.PROBLEM: ("✗", Tone.BAD),
}
_FOR_A_RUN = 60.0
"""Seconds to wait for a run to end, where something is to be stored."""


@dataclass(frozen=True, slots=True)
class Area:
    """Findings about one thing, and the exit code that a problem there means."""

    title: str
    findings: tuple[Finding, ...]
    exit_code: ExitCode

    def count(self, level: Level) -> int:
        """How many findings are so grave."""
        return sum(finding.level is level for finding in self.findings)


def check(
    config: Path | None, console: Console, output: OutputOptions, *, online: bool
) -> ExitCode:
    """Shows all findings, and says in one sentence how it stands and what is next.

    The systems are only asked if the files are right.
    """
    files = check_files(config_path(config), _SOURCE_KINDS, _PSA_KINDS)
    areas = [Area("Files and secrets", files, ExitCode.CONFIG)]
    passed = not areas[0].count(Level.PROBLEM)
    if passed and (changes := _foreign_changes(load(config)[0].state_dir)):
        areas.append(Area("Foreign changes", changes, ExitCode.WITHHELD))
    if online and passed:
        console.info("Asking the systems ...")
        with opened(config) as setup:
            areas += _online(setup)
    every = [{"title": area.title, "findings": list(map(_found, area.findings))} for area in areas]
    failed = [area.exit_code for area in areas if area.count(Level.PROBLEM)]
    code = ExitCode.CONFIG if ExitCode.CONFIG in failed else worst(failed)
    detailed = console.verbose > 0 or online
    show(
        console,
        output,
        report=lambda: _report(areas, detailed=detailed),
        document=lambda: document({"exit_code": code, "areas": every}),
    )
    (console.warn if code else console.info)(_summary(areas, online=online))
    return code


def _report(areas: Sequence[Area], *, detailed: bool) -> Report:
    """All findings; what is fine only where it is asked for."""
    sections = []
    for area in areas:
        shown = [one for one in area.findings if detailed or one.level is not Level.OK]
        entries = [
            Entry(*_MARKS[one.level], one.message, remarks=remarks(one.remedy)) for one in shown
        ]
        sections += [Part(area.title, (), tuple(entries))] if entries else []
    return Report("Check", tuple(sections))


def _found(finding: Finding) -> dict[str, Any]:
    return {**fields(finding, "level message"), "remedy": finding.remedy or None}


def _summary(areas: Sequence[Area], *, online: bool) -> str:
    problems = sum(area.count(Level.PROBLEM) for area in areas)
    warnings = sum(area.count(Level.WARNING) for area in areas)
    if problems:
        found = f"{plural(problems, 'problem')}, {plural(warnings, 'warning')}"
        return f"{found}. Nothing was changed."
    more = f", {plural(warnings, 'warning')}" if warnings else ""
    following = "kisi preview" if online else "kisi check --online"
    return f"No problems{more}. Next: {following}"


def _foreign_changes(state: Path) -> tuple[Finding, ...]:
    """Each write with which something else changed, or may have, with the lines from before it."""
    try:
        with Journal.open(state, readonly=True) as journal:
            known = [(one.what, one.lines) for one in journal.foreign_changes()]
            unproven = journal.unproven()
    except StateError as error:
        return (Finding.of(error),)
    for operation in unproven:
        what = f"Nobody has seen what the write to agreement {operation.line.agreement} did."
        known.append((what, tuple(line.raw for line in operation.lines_before or ())))
    return tuple(
        Finding(
            Level.PROBLEM,
            "\n".join([what, *(json.dumps(dict(line), ensure_ascii=False) for line in lines)]),
            "Compare the agreement in the PSA with the lines from before, and restore what differs."
            " Then run `kisi check --repair`.",
        )
        for what, lines in known
    )


def _online(setup: Setup) -> Iterable[Area]:
    rules = setup.rules()
    validator = SystemValidator(setup.sources, setup.psas, rules.today)
    for name, source in setup.sources.items():
        yield Area(f"sources.{name}", source.check_online(), ExitCode.SOURCE)
        found = check_tenants(name, source, validator, setup.mapping, rules.now, rules.counting)
        yield Area(f"sources.{name}: mapped tenants", tuple(found), ExitCode.SOURCE)
    if twice := tuple(check_listed_twice(setup.sources, setup.mapping)):
        yield Area("Virtual servers of several sources", twice, ExitCode.SOURCE)
    for name, psa in setup.psas.items():
        billed = (c.agreement for c in setup.mapping.companies if c.psa == name and c.billing)
        answers = psa.check_online(next(billed, None))  # asked about rights on this one
        yield Area(f"psa.{name}", answers, ExitCode.PSA)
        if all(finding.level is not Level.PROBLEM for finding in answers[:1]):
            lines = check_lines(name, validator, setup.mapping)
            elsewhere = check_siblings(name, psa, setup.mapping, rules.today)
            title = f"psa.{name}: mapped agreements and products"
            yield Area(title, (*lines, *elsewhere), ExitCode.WITHHELD)


def schema_text() -> str:
    """The JSON Schema of kisi.toml, for editors."""
    schema = Top.model_json_schema()
    definitions: dict[str, Any] = schema.setdefault("$defs", {})

    def sections(kinds: Mapping[str, type[Section]]) -> dict[str, Any]:
        for kind, settings in kinds.items():
            own = settings.model_json_schema(ref_template="#/$defs/{model}")
            definitions.update(own.pop("$defs", {}))
            definitions[kind] = own
        choices = [{"$ref": f"#/$defs/{kind}"} for kind in kinds]
        return {"type": "object", "additionalProperties": {"oneOf": choices}}

    properties = schema["properties"]
    properties["sources"] = sections(_SOURCE_KINDS)
    properties["psa"] = sections(_PSA_KINDS)
    schema["title"] = "kisi.toml"
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps(schema, indent=2) + "\n"


def repair_journal(config: Path | None, console: Console) -> ExitCode:
    """Acknowledges a damaged journal, so that the next run starts with an empty one.

    What kisi wrote before is then known only to the PSA: equal lines are taken over silently,
    different ones are held. Foreign changes are acknowledged too.
    """
    settings, _ = load(config)
    with run_lock(settings.state_dir, 0):
        kept = repair(settings.state_dir)
        if not kept:
            with Journal.open(settings.state_dir) as journal:
                released = journal.release_foreign_changes()
    if kept:
        console.warn("The damaged journal is kept as " + ", ".join(map(str, kept)) + ".")
        console.warn("The next run starts with an empty one: look at `kisi preview` first.")
    elif released:
        console.warn(f"{plural(released, 'foreign change')} acknowledged: the next run writes.")
    else:
        console.info("The journal is not damaged; nothing was changed.")
    return ExitCode.OK


def probe(config: Path | None, agreement: str, console: Console) -> ExitCode:
    """Proves the Tigerpaw template on a scratch agreement, step by step, with a person watching.

    Raises:
        ConfigError: There is no terminal, no Tigerpaw, or the agreement is a client's.
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise ConfigError(
            "--probe-tigerpaw writes to an agreement and asks before each step, so it needs a "
            "terminal. Nothing was sent.",
            remedy="Run it by hand, on a scratch agreement that also holds one manual charge.",
        )
    with opened(config) as setup:
        name, psa, number = _to_prove(setup.psas, agreement)
        for one in setup.mapping.companies:
            if (one.psa, one.agreement) == (name, number):
                raise ConfigError(
                    f"Agreement {number} belongs to {one.name} in mapping.toml, so it is no "
                    "scratch one. Nothing was sent.",
                    remedy="Make an agreement for the probe, with one manual charge on it.",
                )
        item = typer.prompt("Price book item to write on the scratch agreement", err=True)
        passed, state = True, setup.config.state_dir
        for step in psa.probe(number, item, _confirmed):
            passed = step.passed
            console.warn(("✓ " if step.passed else "✗ ") + safe_text(step.message))
            if step.foreign:
                with run_lock(state, _FOR_A_RUN), Journal.open(state) as journal:
                    at = setup.clock.now()
                    journal.record_foreign_change(name, number, at, step.message, ())
    if passed:
        console.warn("Proven. Now set `soap_template_verified = true` in kisi.toml.")
        return ExitCode.OK
    return ExitCode.WRITE


def _to_prove(psas: Mapping[str, Psa], agreement: str) -> tuple[str, SupportsProbe, str]:
    """The PSA that is meant by `AGREEMENT` or `PSA:AGREEMENT`, and the agreement's number."""
    found = {name: psa for name, psa in psas.items() if isinstance(psa, SupportsProbe)}
    if not found:
        raise ConfigError("No [psa.NAME] of kisi.toml is a Tigerpaw. Nothing was sent.")
    named, _, number = agreement.rpartition(":")
    if not named and len(found) == 1:
        ((name, psa),) = found.items()
        return name, psa, number
    if named not in found:
        raise ConfigError(
            f"Which Tigerpaw is meant? kisi.toml has {', '.join(sorted(found))}. Nothing was sent.",
            remedy=f"Name it before the agreement: --probe-tigerpaw {min(found)}:{number}",
        )
    return named, found[named], number


def _confirmed(question: str) -> bool:
    return typer.confirm(safe_text(question), err=True)
