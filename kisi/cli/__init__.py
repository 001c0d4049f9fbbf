"""The command line: the only place that prints or exits."""

from kisi.cli.commands import app, run

__all__ = ["app", "run"]
