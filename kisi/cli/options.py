"""The options that commands share, and the decorator that adds them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from datetime import date
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import Any, Literal

import typer

from kisi.cli.completion import client_names

Format = StrEnum("Format", ["TABLE", "JSON", "CSV", "HTML"])
RowsFormat = StrEnum("RowsFormat", ["TABLE", "JSON", "CSV"])
FindingsFormat = StrEnum("FindingsFormat", ["TABLE", "JSON"])
"""How a result is written; a list; the findings of `kisi check`."""


def flag(name: str, text: str, *names: str, default: Any = False, **more: Any) -> Any:  # noqa: ANN401 - as `typer.Option`
    """An option that is there or not, without a `--no-` form."""
    return typer.Option(default, name, *names, help=text, **more)


def option(metavar: str, text: str, *names: str, default: Any = None, **more: Any) -> Any:  # noqa: ANN401 - likewise
    """An option with a value, by default called as its parameter."""
    return typer.Option(default, *names, metavar=metavar, help=text, **more)


def client_option(text: str, *names: str, **more: Any) -> Any:  # noqa: ANN401 - likewise
    """An option that takes a client's name, a part of it, or a glob; it completes a name."""
    return option("CLIENT", text, *names, autocompletion=client_names, **more)


def client_argument(text: str, default: Any = None, **more: Any) -> Any:  # noqa: ANN401 - as `typer.Argument`
    """An argument that names one client, and completes its name."""
    return typer.Argument(default, metavar="CLIENT", help=text, autocompletion=client_names, **more)


def day(text: str | None, name: str, *, month: bool = False) -> date | None:
    """A day, or the first of a month, that an option has, if any; else `typer.BadParameter`."""
    try:
        return None if text is None else date.fromisoformat(f"{text}-01" if month else text)
    except ValueError:
        said = "a month such as 2026-11" if month else "a day such as 2026-11-30"
        raise typer.BadParameter(f"{str(text)[:40]!r} is not {said}.", param_hint=name) from None


_OLDER = {"only": "client", "company": "client"}
OLDER_NAMES = {"token_normalize_func": lambda name: _OLDER.get(name, name)}
"""Context settings of a command whose --client once was called --only, or --company."""


Texts = list[str] | None
OUTPUT = option("FILE", "Write the result to a file, not to stdout.", "--output", "-o")
CLIENTS = client_option(
    "Only this client: its name, a part of it, or a glob (repeatable).", "--client"
)
EXCLUDE = client_option("Without this one; as --client.", "--exclude")
MONTH = option("YYYY-MM", "By default this month.", "--month")
PSA = option("NAME", "Which [psa.NAME]; needed if there are several.", "--psa")
YES = flag("--yes", "Do it without asking.", "-y")


def _one_format(context: typer.Context, value: object) -> object:
    """Refuses `--json` beside another `--format`; whichever is read last sees both."""
    form = context.params.get("format_", value)
    if all(typed(context, name) for name in ("format_", "json")) and form != Format.JSON:
        raise typer.BadParameter("It is short for --format json; leave one of the two out.")
    return value


def typed(context: typer.Context, name: str) -> bool:
    """Whether an option stands on the command line; its default and its variable do not count."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


_DELIMITERS = {",": ",", ";": ";", "|": "|", "\t": "\t", "tab": "\t"}


def _delimiter(value: str) -> str:
    if value not in _DELIMITERS:
        raise typer.BadParameter("One of , ; | and tab.")
    return _DELIMITERS[value]


DELIMITER = option("CHAR", "Of CSV: , ; | or tab.", "--delimiter", default=",", callback=_delimiter)
_CONFIG = option(
    "FILE",
    "kisi.toml; without it ./kisi.toml, then the platform's config folder.",
    *("--config", "-c"),
    envvar="KISI_CONFIG",
    show_default=False,
)
_QUIET = "Only errors, and the last line if something is wrong."
_VERBOSE = "More detail; -vv shows each request."
_CONSOLE = {
    "quiet": (bool, flag("--quiet", _QUIET, "-q")),
    "verbose": (int, flag("--verbose", _VERBOSE, "-v", default=0, count=True, show_default=False)),
    "no_color": (bool, flag("--no-color", "No colours (NO_COLOR does the same).")),
}
_FIELDS = {"format_": "format", "output_file": "file"}
"""What the console calls an option whose name a command may have for something else."""


def shared_options(
    *, config: bool = True, formats: type[StrEnum] | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Adds options to a command, which takes first what comes of them: a path, and the `Console`.

    --quiet, --verbose, --no-color; --config; with `formats` also --format, --json and --output,
    and where CSV is among them --delimiter and --decimal. In the docstring, which is the help, a
    paragraph that begins with `kisi ` is of examples.
    """
    shared: dict[str, tuple[Any, Any]] = {"config": (Path | None, _CONFIG)} if config else {}
    if formats is not None:
        more = {"default": formats(Format.TABLE), "callback": _one_format, "case_sensitive": False}
        shared["format_"] = (formats, flag("--format", "How to write it.", "-f", **more))
        as_json = flag("--json", "Short for --format json.", callback=_one_format)
        shared |= {"json": (bool, as_json), "output_file": (Path | None, OUTPUT)}
        if "CSV" in formats.__members__:
            sign = flag("--decimal", "Of numbers in CSV.", default=".")
            shared |= {"delimiter": (str, DELIMITER), "decimal": (Literal[".", ","], sign)}
    shared |= _CONSOLE

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command, eval_str=True)
        own = list(signature.parameters.values())[1 + config :]
        parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own] + [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=value, annotation=kind)
            for name, (kind, value) in shared.items()
        ]

        @wraps(command)
        def with_shared(**given: Any) -> None:  # noqa: ANN401 - what each of the options takes
            from kisi.cli.output import Console

            first = [given.pop("config")] if config else []
            wanted = {_FIELDS.get(x, x): given.pop(x) for x in shared if x in given}
            color, as_json = not wanted.pop("no_color"), wanted.pop("json", False)
            form = Format(wanted.pop("format", Format.TABLE))
            console = Console(**wanted, color=color, format=Format.JSON if as_json else form)
            console.start_log()
            command(*first, console, **given)

        with_shared.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        # an example is shown as it stands
        with_shared.__doc__ = re.sub(r"\n\n(?=kisi )", "\n\n\b\n", inspect.getdoc(command) or "")
        with_shared.__annotations__ = {each.name: each.annotation for each in parameters}
        del with_shared.__wrapped__
        return with_shared

    return decorate
