"""What `kisi check` does: findings about everything that a run needs, without writing anything."""

from __future__ import annotations

import json
import os
import shlex
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import typer

from kisi.cli.output import Console, new_folder, show
from kisi.cli.recording import Recording
from kisi.config import Config, Invoice, Kinds, PartialConfig, read_partial_config, resolve_all
from kisi.config.load import Top
from kisi.config.settings import Table
from kisi.errors import ConfigError, ExitCode, KisiError, StateError, worst
from kisi.files import JOURNAL, exposures, why_not_used
from kisi.formats import document, fields_of, groups, results_schema
from kisi.journal import Journal, repair
from kisi.lock import run_lock
from kisi.mapping import validator
from kisi.mapping.file import (
    ApplicationTable,
    CompanyTable,
    ConfigNames,
    ProductTable,
    load_mapping,
)
from kisi.model import AgreementRef, Finding, Level
from kisi.psa import Psa, SupportsProbe
from kisi.reconcile.new_lines import check_siblings
from kisi.redaction import REDACTOR, safe_text
from kisi.render import report as page
from kisi.render.formatting import plural
from kisi.render.report import Tone
from kisi.run.notification import NO_APPRISE, send_test
from kisi.run.setup import PSA_KINDS, SOURCE_KINDS, Setup, config_path, load, opened

if sys.platform == "win32":
    from kisi import windows

_MARKS = {
    Level.OK: ("✓", Tone.GOOD),
    Level.NOTE: ("·", Tone.DIM),
    Level.WARNING: ("!", Tone.HELD),
    Level.PROBLEM: ("✗", Tone.BAD),
}
_FOR_A_RUN = 60.0
"""Seconds to wait for a run to end, where something is to be stored."""
_HAS_MODES = os.name == "posix"


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
    config: Path | None, console: Console, *, online: bool, record: Path | None = None
) -> ExitCode:
    """Shows all findings and what is next; asks the systems only if the files are right.

    With `record`, a folder, it writes there what they answered, without what identifies somebody.
    """
    files = check_files(config_path(config), SOURCE_KINDS, PSA_KINDS)
    areas = [Area("Files and secrets", files, ExitCode.CONFIG)]
    passed = not areas[0].count(Level.PROBLEM)
    if passed and (open_ := tuple(_to_look_at(load(config)[0].state_dir))):
        areas.append(Area("Writes to look at", open_, ExitCode.WITHHELD))
    following = "kisi check --online"
    if online and passed:
        console.info("Asking the systems ...")
        with opened(config) as setup:
            if record is None:
                areas += _online(setup)
            else:
                areas += _recorded(setup, record, console)
            following = "kisi preview" if setup.mapping.companies else "kisi map"
    code = _show_areas(areas, console, detailed=console.verbose > 0 or online)
    problems = sum(area.count(Level.PROBLEM) for area in areas)
    warnings = plural(sum(area.count(Level.WARNING) for area in areas), "warning")
    if problems:
        console.warn(f"{plural(problems, 'problem')}, {warnings}. Nothing was changed.")
    else:
        more = "" if warnings.startswith("0 ") else f", {warnings}"
        console.info(f"No problems{more}. Next: {following}")
    return code


def _recorded(setup: Setup, folder: Path, console: Console) -> Sequence[Area]:
    """The findings of `_online`; the answers are written into `folder`."""
    from kisi.transport.client import WATCHERS  # loads what no other check needs

    sections = (*setup.config.sources.values(), *setup.config.psa.values())
    own = (getattr(x, name, "") for x in sections for name in ("user", "company", "domain"))
    recording = Recording(own)
    new_folder(folder)
    WATCHERS.append(recording.keep)
    try:
        areas = tuple(_online(setup))
        for name, psa in setup.psas.items():
            mine = (x for x in setup.mapping.companies if x.psa == name)
            for one in islice(mine, 1):  # a check needs no lines, the reference does
                with suppress(KisiError):  # its answer is recorded all the same
                    psa.lines(AgreementRef(name, one.company, one.agreement))
    finally:
        WATCHERS.remove(recording.keep)
    for file in recording.write(folder):
        console.info(f"Recorded: {file}. Look through it before you send it.")
    return areas


def _show_areas(areas: Sequence[Area], console: Console, *, detailed: bool) -> ExitCode:
    failed = [area.exit_code for area in areas if area.count(Level.PROBLEM)]
    code = ExitCode.CONFIG if ExitCode.CONFIG in failed else worst(failed)
    show(
        console,
        report=lambda: _report(areas, detailed=detailed),
        document=lambda: document("check", {"exit_code": code, "areas": areas}),
    )
    return code


def notify_test(config: Path | None, console: Console) -> ExitCode:
    """Sends a test to each address of `[notify]`, and shows what each answered."""
    settings, _ = load(config)
    nobody = (Finding(Level.PROBLEM, "[notify] names nobody, so nobody is told of a run."),)
    area = Area("[notify]", send_test(settings) or nobody, ExitCode.CONFIG)
    return _show_areas([area], console, detailed=True)


def _report(areas: Sequence[Area], *, detailed: bool) -> page.Report:
    sections = []
    for area in areas:
        entries = []
        for one in area.findings:
            if detailed or one.level is not Level.OK:
                todo, *pasted = one.remedy.splitlines() or [""]
                told = (*page.remarks(todo), *page.remarks(*pasted, tone=Tone.COMMAND))
                entries.append(page.Entry(*_MARKS[one.level], one.message, remarks=told))
        sections += [page.Section(area.title, (), tuple(entries))] if entries else []
    return page.Report("Check", tuple(sections))


def _to_look_at(state: Path) -> Iterable[Finding]:
    """Each write that changed something else, or may have, and each new line that nobody has seen.

    A foreign change is shown with the lines from before it.
    """
    try:
        with Journal.open(state, readonly=True) as journal:
            known = [(one.what, one.lines) for one in journal.foreign_changes()]
            unproven, missing = journal.unproven(), journal.missing()
    except StateError as error:
        yield Finding.of(error)
        return
    for operation in unproven:
        what = f"Nobody has seen what the write to agreement {operation.line.agreement} did."
        known.append((what, tuple(line.raw for line in operation.lines_before or ())))
    for what, lines in known:
        yield Finding(
            Level.PROBLEM,
            "\n".join([what, *(json.dumps(dict(line), ensure_ascii=False) for line in lines)]),
            "Compare the agreement in the PSA with the lines from before, and restore what differs."
            " Then run `kisi check --repair`.",
        )
    for one in missing:
        line = one.line
        yield Finding(
            Level.WARNING,
            f"{one.name}: the new line of product {line.product} ({line.after} x "
            f"{line.application}), which run {one.run_id} sent on {one.at:%Y-%m-%d} to agreement "
            f"{line.agreement} of psa.{line.psa}, was not seen there since.",
            "If it is there, `kisi sync` takes it over. If it is not, and does not come: "
            "`kisi check --repair`; until then nothing is billed for its devices elsewhere.",
        )


def _online(setup: Setup) -> Iterable[Area]:
    rules = setup.rules()
    systems = validator.SystemValidator(setup.sources, setup.psas, rules.today)
    for name, source in setup.sources.items():
        yield Area(f"sources.{name}", source.check_online(), ExitCode.SOURCE)
        found = validator.check_tenants(
            name, source, systems, rules.mapping, rules.now, rules.counting
        )
        yield Area(f"sources.{name}: mapped tenants", tuple(found), ExitCode.SOURCE)
    if twice := tuple(validator.check_listed_twice(setup.sources, rules.mapping)):
        yield Area("Virtual servers of several sources", twice, ExitCode.SOURCE)
    for name, psa in setup.psas.items():
        billed = (c.agreement for c in setup.mapping.companies if c.psa == name and c.billing)
        answers = psa.check_online(next(billed, None))  # asked about rights on this one
        yield Area(f"psa.{name}", answers, ExitCode.PSA)
        if all(finding.level is not Level.PROBLEM for finding in answers[:1]):
            lines = validator.check_lines(name, systems, rules.mapping)
            elsewhere = check_siblings(name, psa, rules.mapping, rules.today)
            title = f"psa.{name}: mapped agreements and products"
            yield Area(title, (*lines, *elsewhere), ExitCode.WITHHELD)


_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def show_schema(console: Console) -> None:
    """Shows the JSON Schema of both files and of every result; as a table, the results' fields."""

    def whole() -> dict[str, Any]:
        schema, definitions = results_schema(), dict[str, Any]()
        rows: dict[str, type[Table]] = {"application": ApplicationTable, "product": ProductTable}
        rows["company"] = CompanyTable
        lists = {
            name: {"type": "array", "items": reference}
            for name, reference in zip(rows, _tables(rows, definitions), strict=True)
        }
        mapping = {"type": "object", "properties": lists, "$defs": definitions}
        files = {"kisi.toml": kisi_toml_schema(), "mapping.toml": mapping}
        # a file's own references begin anew at its `$id`
        schema["$defs"] |= {name: {"$id": f"urn:kisi:{name}", **x} for name, x in files.items()}
        return {"$schema": _DIALECT, "title": "kisi", **schema}

    def table() -> page.Report:
        sections = []
        for (kind, name), group in groups().items():
            what = {"[": f"JSON of {name}", "{": f"object {name}", "<": f"CSV of {name}"}[kind]
            rows = page.table("field | type | meaning~", (x[:3] for x in fields_of(kind, name)))
            sections.append(page.Section(what, (group.title,), rows))
        return page.Report("kisi schema", tuple(sections))

    show(console, report=table, document=whole)


def schema_text() -> str:
    """The JSON Schema of kisi.toml, for editors."""
    return json.dumps({**kisi_toml_schema(), "$schema": _DIALECT}, indent=2) + "\n"


def kisi_toml_schema() -> dict[str, Any]:
    """The JSON Schema of kisi.toml."""
    schema = Top.model_json_schema()
    definitions = schema.setdefault("$defs", {})
    (invoice,) = _tables({"invoice": Invoice}, definitions)
    schema["properties"]["invoices"] = {"type": "object", "additionalProperties": invoice}
    for name, kinds in (("sources", SOURCE_KINDS), ("psa", PSA_KINDS)):
        sections = {"oneOf": _tables(kinds, definitions)}
        schema["properties"][name] = {"type": "object", "additionalProperties": sections}
    return {**schema, "title": "kisi.toml"}


def _tables(kinds: Mapping[str, type[Table]], definitions: dict[str, Any]) -> list[dict[str, str]]:
    """A reference to each kind of table, whose schema is put into `definitions`."""
    for name, table in kinds.items():
        own = table.model_json_schema(ref_template="#/$defs/{model}")
        definitions |= {**own.pop("$defs", {}), name: own}
    return [{"$ref": f"#/$defs/{name}"} for name in kinds]


def repair_journal(config: Path | None, console: Console) -> ExitCode:
    """Acknowledges foreign changes, or a damaged journal: the next run starts with an empty one.

    What kisi wrote before is then known only to the PSA: equal lines are taken over silently,
    different ones are held.
    """
    settings, _ = load(config)
    with run_lock(settings.state_dir, 0):
        kept = repair(settings.state_dir)
        if not kept:
            with Journal.open(settings.state_dir) as journal:
                released = journal.acknowledge()
    if kept:
        console.warn("The damaged journal is kept as " + ", ".join(map(str, kept)) + ".")
        console.warn("The next run starts with an empty one: look at `kisi preview` first.")
    elif released:
        console.warn(f"{plural(released, 'open write')} acknowledged: the next run writes.")
    else:
        console.info("There is nothing to acknowledge; nothing was changed.")
    return ExitCode.OK


def probe(config: Path | None, agreement: str, console: Console) -> ExitCode:
    """Proves the Tigerpaw template on a scratch agreement, step by step, with a person watching."""
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
        for step in psa.probe(number, item, lambda x: typer.confirm(safe_text(x), err=True)):
            passed = step.passed
            console.warn(("✓ " if passed else "✗ ") + safe_text(step.message))
            if step.foreign:
                with run_lock(state, _FOR_A_RUN), Journal.open(state) as journal:
                    at = setup.clock.now()
                    journal.record_foreign_change(name, number, at, step.message, ())
    if passed:
        console.warn("Proven. Now set `soap_template_verified = true` in kisi.toml.")
        return ExitCode.OK
    return ExitCode.WRITE


def _to_prove(psas: Mapping[str, Psa], agreement: str) -> tuple[str, SupportsProbe, str]:
    found = {name: psa for name, psa in psas.items() if isinstance(psa, SupportsProbe)}
    if not found:
        raise ConfigError("No [psa.NAME] of kisi.toml is a Tigerpaw. Nothing was sent.")
    named, _, number = agreement.rpartition(":")
    if not named and len(found) == 1:
        named = min(found)
    if named not in found:
        raise ConfigError(
            f"Which Tigerpaw is meant? kisi.toml has {', '.join(sorted(found))}. Nothing was sent.",
            remedy=f"Name it before the agreement: --probe-tigerpaw {min(found)}:{number}",
        )
    return named, found[named], number


# --- offline: what can be wrong before a request is sent ------------------------------------------


def check_files(path: Path, source_kinds: Kinds, psa_kinds: Kinds) -> tuple[Finding, ...]:
    """All problems of everything that a run would read, from kisi.toml on, together; offline."""
    try:
        partial = read_partial_config(path, source_kinds, psa_kinds)
    except ConfigError as error:
        return tuple(_errors(error))
    config = partial.config
    valid = (
        f"{config.path} is valid: sources {', '.join(config.sources)}; PSAs "
        f"{', '.join(config.psa)}; billing days are those of {config.timezone}."
        f" The state folder is {config.state_dir}."
    )
    if config.parts:
        valid += f" Other parts: {', '.join(str(part.path) for part in config.parts)}."
    findings = [Finding(Level.PROBLEM, problem) for problem in partial.problems]
    findings = findings or [Finding(Level.OK, valid)]
    findings += [*partial.surprises, *_check_mapping(partial)]
    try:
        count = sum(map(len, resolve_all(config).values()))
        findings.append(Finding(Level.OK, f"{plural(count, 'secret')} found."))
        if not REDACTOR.quotes:
            what = "A secret is a common word or number, or shorter than 4 characters: masked, it"
            what += " could be read from what is around it. So kisi shows no words of servers."
            remedy = "Take others: 16 characters or more, or letters and digits mixed."
            findings.append(Finding(Level.WARNING, what, remedy))
    except ConfigError as error:
        findings += _errors(error)
    if config.notify.apprise and find_spec("apprise") is None:
        findings.append(Finding(Level.WARNING, NO_APPRISE))
    return (*findings, *_open_to_others(config), *_unusable_files(config))


def _errors(error: ConfigError) -> list[Finding]:
    *others, last = error.problems  # what is to be done is said once
    return [
        *(Finding(Level.PROBLEM, x) for x in others),
        Finding(Level.PROBLEM, last, error.remedy),
    ]


def _check_mapping(partial: PartialConfig) -> list[Finding]:
    path = partial.config.mapping_path
    if not os.path.lexists(path):
        missing = f"There is no {path} yet, so nothing is billed."
        return [Finding(Level.WARNING, missing, "`kisi map` makes it, client by client.")]
    try:
        mapping = load_mapping(path, ConfigNames.of(partial.config))
    except ConfigError as error:
        return _errors(error)
    applications = plural(len(mapping.applications), "application")
    clients = plural(len(mapping.companies), "client")
    billed = sum(company.billing for company in mapping.companies)
    valid = f"{path} is valid: {applications}, {clients}, {billed} with billing on."
    return [Finding(Level.OK, valid)]


def _unusable_files(config: Config) -> Iterator[Finding]:
    for table, sections in (("sources", config.sources), ("psa", config.psa)):
        for name, section in sections.items():
            for key, file in section.files_named(config.base):
                if not (file.is_file() and os.access(file, os.R_OK)):
                    place = f"{config.path.name}: [{table}.{name}] {key}"
                    missing = f"{place}: There is no file {file} that this user can read."
                    yield Finding(Level.PROBLEM, missing)
                elif foreign := why_not_used(file):
                    yield Finding(Level.PROBLEM, foreign)
    # the state folder is made by the first `sync`, if its nearest parent allows that
    folder = config.state_dir
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if not there.is_dir():
        yield Finding(Level.PROBLEM, f"state_dir: {there} is a file, so it can hold no journal.")
    elif not os.access(there, os.W_OK | os.X_OK):
        yield Finding(
            Level.PROBLEM,
            f"state_dir: This user cannot write to {there}, so `kisi sync` would end with exit 8.",
            "Run kisi as the user that owns it, or set state_dir to another folder.",
        )


def _open_to_others(config: Config) -> Iterator[Finding]:
    """Warnings of files and folders that other users can change.

    Who can change kisi.toml can have the passwords sent to a server of his own; who can change a
    certificate, a report, a template, the folder of one or the state folder decides what is billed.
    """
    state = config.state_dir
    files = [config.path, config.mapping_path, state / JOURNAL]
    files += (part.path for part in config.parts)
    for section in (*config.sources.values(), *config.psa.values()):
        files += section.files_read(config.base)
    for reference in config.references():
        if reference.scheme == "file":
            with suppress(RuntimeError):  # without a home folder it is no file: reported as such
                files.append(config.base / Path(reference.target).expanduser())
    if sys.platform == "win32":
        yield from windows.open_to_others(files, state)
    if not _HAS_MODES:
        return
    mode = stat.S_IMODE(state.stat().st_mode) if state.is_dir() else 0
    found = dict.fromkeys(each for file in dict.fromkeys(files) for each in exposures(file))
    for each in found:  # what is refused is a problem of its own, or no matter (a report)
        if not each.refused and each.place != state:
            yield Finding(Level.WARNING, each.what, each.remedy)
    if mode & 0o077:
        yield Finding(
            Level.WARNING,
            f"Other users of this machine have access to the state folder {state} (mode "
            f"{mode:04o}), where clients and devices are named.",
            f"Run `chmod 700 {shlex.quote(str(state))}`.",
        )
