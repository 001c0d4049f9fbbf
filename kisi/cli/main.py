"""Runs one command line: the one door, which maps every error to its exit code and its words.

Commands import what they need inside themselves, to keep `kisi --help` fast.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import typer

from kisi.cli.commands import app
from kisi.errors import ExitCode, Interrupted, KisiError

_command_of = cache(typer.main.get_command)
"""Built once, also where one process runs several commands, as `kisi demo` does."""


def run(arguments: Sequence[str]) -> int:
    """Runs one command line, without the program's name; the exit code.

    Nothing is raised: what kisi did not foresee is a bug, said in one sentence.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed from the start (`>&-`, pythonw): nothing is said
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115
    try:
        result = _command_of(app).main(list(arguments), prog_name="kisi", standalone_mode=False)
    except typer.TyperException as error:
        return _say_usage(error)
    except (typer.Abort, KeyboardInterrupt):
        return _say(Interrupted("Stopped before anything was written."))
    except KisiError as error:
        return _say(error)
    except Exception as error:  # noqa: BLE001 - the last door: an operator never sees a traceback
        return _say_bug(error, verbose="-vv" in arguments)
    return result if isinstance(result, int) else ExitCode.OK


def _say_usage(error: typer.TyperException) -> int:
    """Wrong arguments, in Typer's own words; those it raises itself also show how it is used."""
    show = getattr(error, "show", None)
    if show is None:
        sys.stderr.write(f"Error: {error.format_message()}\n")
    else:
        show(sys.stderr)
    return ExitCode.USAGE


def _say(error: KisiError) -> int:
    from kisi.cli.output import explain_error, write

    write(sys.stderr, explain_error(error))
    return error.exit_code


def _say_bug(error: Exception, *, verbose: bool) -> int:
    import traceback

    from kisi.cli.output import write
    from kisi.redaction import REDACTOR, safe_text

    kind = f"{type(error).__name__}: {error}"
    write(sys.stderr, "Error: this is a bug in kisi: " + safe_text(REDACTOR.redact(kind)))
    write(sys.stderr, "To do: run it again with -vv, and report what it prints.")
    if verbose:
        redacted = REDACTOR.redact("".join(traceback.format_exception(error))).splitlines()
        write(sys.stderr, "\n".join(safe_text(line) for line in redacted))
    return ExitCode.BUG
