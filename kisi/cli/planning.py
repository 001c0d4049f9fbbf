"""What `preview` and `sync` have in common: open everything, remember, reconcile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kisi.cli.output import Voice
from kisi.errors import ConfigError

if TYPE_CHECKING:
    from kisi.cli.progress import Report
    from kisi.cli.setup import Setup
    from kisi.journal import Journal
    from kisi.model import Company, Plan
    from kisi.reconcile import Memory, Reconciled, Rules


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
            ConfigError: `--only` names nobody.
        """
        from kisi.reconcile import select

        chosen = select(setup.mapping.companies, self.only, self.exclude)
        if self.only and not chosen:
            raise ConfigError(
                "No client of mapping.toml has a name that matches "
                + ", ".join(repr(glob) for glob in self.only)
                + ". Nothing was read or written.",
                remedy="`kisi map list` shows the names.",
            )
        return chosen


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan and what made it."""

    setup: Setup
    plan: Plan


@contextmanager
def planned(config: Path | None, asked: Asked, voice: Voice) -> Iterator[Planned]:
    """The plan as of now, for `preview`: reads the journal, and writes nothing anywhere."""
    from kisi.cli.progress import shown
    from kisi.cli.setup import opened
    from kisi.cli.signals import stopping
    from kisi.journal import Journal
    from kisi.reconcile import resolve

    with stopping() as stop, opened(config) as setup:
        rules = setup.rules()
        with Journal.open(setup.config.state_dir, readonly=True) as journal:
            memory = remember(journal, rules)
        with shown(voice, stop) as report:
            found = reconciled(setup, rules, memory, asked, report)
        yield Planned(setup, resolve(found.plan, setup.psas))


def remember(journal: Journal, rules: Rules) -> Memory:
    """What the journal knows that a plan needs."""
    from kisi.reconcile import Memory

    return Memory(
        facts=journal.facts(rules.now, rules.guards.baseline_days),
        accepts=journal.accept_counts(),
        pending=journal.pending(),
    )


def reconciled(
    setup: Setup, rules: Rules, memory: Memory, asked: Asked, report: Report
) -> Reconciled:
    """Reads everything and works out the guarded plan."""
    from kisi.reconcile import reconcile

    companies = asked.companies(setup)
    return reconcile(rules, setup.sources, setup.psas, memory, companies, report)
