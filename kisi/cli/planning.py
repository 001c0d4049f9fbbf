"""What `preview` and `sync` have in common: open everything, load the journal, reconcile."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kisi.cli.output import Voice
from kisi.errors import ConfigError

if TYPE_CHECKING:
    from kisi.cli.progress import Report
    from kisi.cli.setup import Setup
    from kisi.journal import Journal
    from kisi.model import Company, Plan
    from kisi.reconcile import JournalState, Reconciled, Rules
    from kisi.render.plan_view import Mode, PlanView


@dataclass(frozen=True, slots=True)
class Asked:
    """Which clients a run concerns, by globs on their names."""

    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    @property
    def scope(self) -> str:
        """In words, for the journal; empty for a run over all clients."""
        parts = [f"only {glob}" for glob in self.only]
        parts += [f"not {glob}" for glob in self.exclude]
        return ", ".join(parts)

    def companies(self, setup: Setup) -> tuple[Company, ...]:
        """The clients, in the mapping's order.

        Raises:
            ConfigError: One of the globs names nobody, or nobody is left.
        """
        from kisi.model import Glob
        from kisi.reconcile import select

        clients = setup.mapping.companies
        globs = (*self.only, *self.exclude)
        nobody = [
            glob for glob in globs if not any(Glob(glob).matches(one.name) for one in clients)
        ]
        if nobody:
            listed = ", ".join(repr(glob) for glob in nobody)
            raise ConfigError(
                f"No client of mapping.toml has a name that matches {listed}. "
                "Nothing was read or written.",
                remedy="`kisi map list` shows the names.",
            )
        chosen = select(clients, self.only, self.exclude)
        if globs and not chosen:
            raise ConfigError(
                "--only and --exclude leave no client. Nothing was read or written.",
                remedy="`kisi map list` shows the names.",
            )
        return chosen


def preview_view(config: Path | None, asked: Asked, voice: Voice, *, detailed: bool) -> PlanView:
    """The plan as of now: reads the journal, and writes nothing anywhere.

    Args:
        config: kisi.toml, as given.
        asked: Which clients.
        voice: How to speak.
        detailed: Changes that wait to be written count for the exit code.
    """
    from kisi.cli.output import explain_error
    from kisi.cli.progress import shown
    from kisi.cli.setup import opened
    from kisi.cli.signals import attentively, stopping
    from kisi.errors import worst
    from kisi.journal import Journal
    from kisi.reconcile import resolve
    from kisi.reconcile.summary import exit_code
    from kisi.render.plan_view import Mode

    with stopping("Stopping: a preview writes nothing.") as stop, opened(config, stop) as setup:
        rules = setup.rules()
        with Journal.open(setup.config.state_dir, readonly=True) as journal:
            memory, problem = load_journal_state(journal, rules), journal.problem
            if problem is not None:
                voice.insist(explain_error(problem))
            with shown(voice, stop) as report:
                found = attentively(lambda: reconciled(setup, rules, memory, asked, report))
        plan = resolve(found, setup.psas)
        codes = [exit_code(plan, detailed=detailed), *([problem.exit_code] if problem else [])]
        return view_of(plan, found, setup, mode=Mode.PREVIEW, code=worst(codes))


def view_of(
    plan: Plan,
    found: Reconciled,
    setup: Setup,
    *,
    mode: Mode,
    code: int,
    run: int | None = None,
    accepted: tuple[str, ...] = (),
) -> PlanView:
    """What the renderers want to know of a run."""
    from kisi import __version__
    from kisi.reconcile.summary import last_line
    from kisi.render.plan_view import PlanView

    earlier = tuple(
        replace(one.operation, outcome=one.outcome, detail=one.detail) for one in found.settlements
    )
    return PlanView(
        plan=plan,
        mode=mode,
        exit_code=code,
        last_line=last_line(plan),
        generated_at=setup.clock.now(),
        version=__version__,
        zone=setup.config.timezone,
        left=found.left,
        earlier=earlier,
        run=run,
        accepted=accepted,
    )


def load_journal_state(journal: Journal, rules: Rules) -> JournalState:
    """What the journal knows that a plan needs."""
    from kisi.journal import Subject
    from kisi.reconcile import JournalState

    tenants = journal.latest(Subject.TENANTS)
    return JournalState(
        facts=journal.facts(rules.now, rules.guards.baseline_days),
        accepts=journal.accept_counts(),
        pending=journal.pending(),
        tenants=tenants.value if tenants else {},
        accepted=journal.accepted(),
        past=journal.readings,
    )


def reconciled(
    setup: Setup, rules: Rules, memory: JournalState, asked: Asked, report: Report
) -> Reconciled:
    """Reads everything and works out the guarded plan."""
    from kisi.reconcile import reconcile

    companies = asked.companies(setup)
    return reconcile(rules, setup.sources, setup.psas, memory, companies, report, setup.clock)
