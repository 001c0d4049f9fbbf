"""Where results and messages go: stdout for results, stderr for everything else.

Trouble with printing never changes what was billed, nor the exit code.
"""

from __future__ import annotations

import codecs
import errno
import logging
import os
import shutil
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from kisi.cli.options import Format
from kisi.errors import KisiError, StateError

if TYPE_CHECKING:
    from kisi.csv_table import CsvStyle
    from kisi.json_text import Json
    from kisi.render.report import Report

_WIDE = 120
"""Where nobody says how wide it is (a file, a pipe): few names are broken, and a mail shows it."""
_MOST_LINES = 50
"""Of one error; the others would only push these out of sight."""


@dataclass(frozen=True, slots=True)
class Console:
    """How many messages of a command are shown; how its result is written, and where."""

    quiet: bool = False
    verbose: int = 0
    color: bool = True
    format: Format = Format.TABLE
    file: Path | None = None
    """Where the result goes, if not to stdout."""
    delimiter: str = ","
    """Of CSV, as the next."""
    decimal: str = "."

    def start_log(self) -> None:
        """Sets up logging for one command."""
        from kisi.redaction import OneLine, RedactingFilter

        logging.raiseExceptions = False  # a log that cannot be written is no reason for a traceback
        levels = (logging.WARNING, logging.INFO, logging.DEBUG)
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(OneLine("%(levelname)s %(name)s: %(message)s"))
        handler.addFilter(RedactingFilter())
        level = logging.ERROR if self.quiet else levels[min(self.verbose, 2)]
        handler.setLevel(level)
        logging.basicConfig(level=level, handlers=[handler], force=True)
        logging.getLogger("urllib3").setLevel(logging.ERROR)  # its warnings show whole addresses

    def info(self, text: str) -> None:
        """A message for the operator, on stderr."""
        if not self.quiet:
            self.warn(text)

    def warn(self, text: str) -> None:
        """A message that is shown also when quiet."""
        write(sys.stderr, fitted(text, sys.stderr))

    def colored(self, stream: TextIO) -> bool:
        """Whether `stream` is a terminal that wants colours, and knows them."""
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        if not self.color or plain or not stream.isatty():
            return False
        if os.name != "nt":
            return True
        from rich.console import detect_legacy_windows

        return not detect_legacy_windows()


def fitted(text: str, stream: TextIO) -> str:
    """Sentences as wide as a terminal, which would break words, and commands, anywhere."""
    if not stream.isatty():
        return text
    from kisi.render.terminal import wrap

    width, lines = shutil.get_terminal_size().columns, list[str]()
    for line in text.splitlines():
        said = line.lstrip()
        indent = " " * (len(line) - len(said))
        lines += (indent + part for part in wrap(said, max(width - len(indent), 20)))
    return "\n".join(lines)


def open_streams() -> None:
    """Before anything is said: no stream is missing, and none fails at a letter that it lacks."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed from the start (`>&-`, pythonw): nothing is said
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors=_SUBSTITUTE)


def _substitute(error: UnicodeError) -> tuple[str, int]:
    from kisi.redaction import substitute  # which takes this one's place

    return substitute(error)


_SUBSTITUTE = "kisi"
"""`kisi.redaction.SUBSTITUTE`, without loading that where every letter can be encoded."""
codecs.register_error(_SUBSTITUTE, _substitute)


def write(stream: TextIO, text: str) -> None:
    """Writes text and a newline; says on stderr if that is not possible."""
    try:
        stream.write(text if text.endswith("\n") else text + "\n")
        stream.flush()
    except OSError as error:
        # It goes nowhere: else the interpreter tries again, and fails, at exit.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        if stream is not sys.stderr and not isinstance(error, BrokenPipeError):
            write(sys.stderr, f"The result could not be printed: {error.strerror}.")


def result(text: str, output: Path | None) -> None:
    """Writes a result to stdout, or whole to a file; `StateError`: the old one is untouched."""
    if output is None:
        is_csv, is_page = _is_csv(text), text.startswith("<!DOCTYPE html")
        if isinstance(sys.stdout, TextIOWrapper):
            if is_csv:
                sys.stdout.reconfigure(newline="")  # it ends its own lines; Windows doubles them
            if (is_csv or is_page) and not sys.stdout.isatty():  # as with --output
                sys.stdout.reconfigure(encoding=_encoding(text), errors=_SUBSTITUTE)
        if text:
            write(sys.stdout, text)
        return
    try:
        _write_file(output, text if text.endswith("\n") or not text else text + "\n")
    except OSError as error:
        raise StateError(
            f"The result could not be written to {output}: {error.strerror}.",
            remedy="Choose another --output; nothing that was billed depends on it.",
        ) from error


def new_folder(folder: Path) -> Path:
    """Makes a folder for results, private, unless it is there; `StateError` if that cannot be."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StateError(
            f"The folder {folder} could not be made: {error.strerror}.",
            remedy="Choose another folder; it gets a file for each client or system.",
        ) from error
    return folder


def _write_file(path: Path, text: str) -> None:
    """Replaces a whole file, private if new: it names clients. A pipe could wait for ever."""
    from kisi.files import NOT_REGULAR, PRIVATE, atomic_write, is_foreign

    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, NOT_REGULAR)
    if path.is_symlink() and is_foreign(path.lstat()):  # it could lead to any file of ours
        raise PermissionError(errno.EPERM, "it is another user's link")
    target = Path(os.path.realpath(path)) if path.is_symlink() else path
    old = target.stat() if target.exists() else None
    if old and is_foreign(old):  # who owns it could read the new one
        raise PermissionError(errno.EPERM, "it is another user's file")
    mode = stat.S_IMODE(old.st_mode) if old else PRIVATE
    atomic_write(target, text.encode(_encoding(text)), mode=mode)


def _is_csv(text: str) -> bool:
    return "\r\n" in text  # nothing else that kisi makes has such ends of lines


def _encoding(text: str) -> str:
    """With a mark in front of CSV: Excel takes a file without one for the country's code page."""
    return "utf-8-sig" if _is_csv(text) else "utf-8"


def explain_error(error: KisiError) -> str:
    """An error as the operator reads it: what happened, then what to do."""
    from kisi.redaction import REDACTOR, safe_text

    said = REDACTOR.redact(error.message).splitlines() or [""]
    lines = [safe_text(line) for line in said[:_MOST_LINES]]
    if len(said) > _MOST_LINES:
        lines.append(f"... and {len(said) - _MOST_LINES} more.")
    text = "\n".join(["Error: " + lines[0], *("       " + line for line in lines[1:])])
    if error.remedy:
        text += "\nTo do: " + safe_text(REDACTOR.redact(error.remedy))
    return text


def show(
    console: Console,
    report: Callable[[], Report],
    document: Callable[[], Json],
    csv: Callable[[CsvStyle], str] | None = None,
) -> None:
    """Writes a result in the wanted format, which is one of those that the command offers."""
    if console.format is Format.JSON:
        from kisi.json_text import dumps

        text = dumps(document())
    elif console.format is Format.CSV and csv is not None:
        from kisi.csv_table import CsvStyle

        text = csv(CsvStyle(console.delimiter, console.decimal))
    elif console.format is Format.HTML:
        from kisi.render.web import web_page

        text = web_page(report())
    else:
        text = terminal_text(report(), console)
    result(text, console.file)


def terminal_text(report: Report, console: Console) -> str:
    """A report as text: as wide as the terminal, coloured if that is welcome."""
    from kisi.render.terminal import lay_out

    if console.file is not None:
        return lay_out(report, _WIDE)
    width, encoding = shutil.get_terminal_size((_WIDE, 0)).columns, sys.stdout.encoding or "ascii"
    return lay_out(report, width, encoding, color=console.colored(sys.stdout))
