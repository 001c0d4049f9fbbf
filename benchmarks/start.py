"""start: what a command costs before it does anything."""

from __future__ import annotations

from argparse import Namespace
from functools import partial

from benchmarks.servers import servers
from benchmarks.timing import compare, cost

TYPER = """
import typer
app = typer.Typer(
    name="bare",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
for name in "abcdefghijklm":
    app.command(name)(lambda: None)
app()
"""


def table(options: Namespace) -> None:
    """Against a bare program with Typer, as it is set in kisi, and against nothing at all."""
    with servers(Namespace(clients=options.clients, devices=3)) as handle:
        config = ("--config", handle.known["config"])
        actions = {
            "bare Typer --help": partial(cost, "-c", TYPER, "--help"),
            "python -c pass": partial(cost, "-c", "pass"),
            "kisi --help": partial(cost, "-m", "kisi", "--help"),
            "kisi status": partial(cost, "-m", "kisi", "status", *config),
        }
        compare(
            f"start: status of {options.clients} clients",
            actions,
            "bare Typer --help",
            options.rounds,
        )
