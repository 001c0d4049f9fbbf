"""The options that commands share, and the decorator that adds them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from datetime import date
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from kisi.cli.completion import client_names

Format = StrEnum("Format", ["TABLE", "JSON", "CSV", "HTML"])
RowsFormat = StrEnum("RowsFormat", ["TABLE", "JSON", "CSV"])
FindingsFormat = StrEnum("FindingsFormat", ["TABLE", "JSON"])
"""How a result is written; a list; the findings of `kisi check`."""


def flag(name: str, text: str, *names: str, **more: Any) -> Any:  # noqa: ANN401 - as `typer.Option`
    """An option that is there or not, without a `--no-` form."""
    return typer.Option(name, *names, help=text, **more)


def option(metavar: str, text: str, *names: str, **more: Any) -> Any:  # noqa: ANN401 - likewise
    """An option with a value, by default called as its parameter."""
    return typer.Option(*names, metavar=metavar, help=text, **more)


def client_option(text: str, *names: str, **more: Any) -> Any:  # noqa: ANN401 - likewise
    """An option that takes a client's name, a part of it, or a glob; it completes a name."""
    return option("CLIENT", text, *names, autocompletion=client_names, **more)


def client_argument(text: str, **more: Any) -> Any:  # noqa: ANN401 - as `typer.Argument`
    """An argument that names one client, and completes its name."""
    return typer.Argument(metavar="CLIENT", help=text, autocompletion=client_names, **more)


def day(text: str, name: str, *, month: bool = False) -> date:
    """A day, or the first of a month, that an option has; else `typer.BadParameter`."""
    try:
        return date.fromisoformat(f"{text}-01" if month else text)
    except ValueError:
        said = "a month such as 2026-11" if month else "a day such as 2026-11-30"
        raise typer.BadParameter(f"{text[:40]!r} is not {said}.", param_hint=name) from None


_OLDER = {"only": "client", "company": "client"}
OLDER_NAMES = {"token_normalize_func": lambda name: _OLDER.get(name, name)}
"""Context settings of a command whose --client once was called --only, or --company."""


_OUTPUT = "Write the result to a file, not to stdout."
Output = Annotated[Path | None, option("FILE", _OUTPUT, "--output", "-o")]
_CLIENT = "Only this client: its name, a part of it, or a glob (repeatable)."
Clients = Annotated[list[str] | None, client_option(_CLIENT, "--client")]
Exclude = Annotated[list[str] | None, client_option("Without this one; as --client.", "--exclude")]
_PSA = "Which [psa.NAME]; needed if there are several."
PsaName = Annotated[str | None, option("NAME", _PSA, "--psa")]
Yes = Annotated[bool, flag("--yes", "Do it without asking.", "-y")]
_CONFIG = "kisi.toml; without it ./kisi.toml, then the platform's config folder."
_FROM = {"envvar": "KISI_CONFIG", "show_default": False}
_Config = Annotated[Path | None, option("FILE", _CONFIG, "--config", "-c", **_FROM)]
_QUIET = "Only errors, and the last line if something is wrong."
_Quiet = Annotated[bool, flag("--quiet", _QUIET, "-q")]
_VERBOSE = "More detail; -vv shows each request."
_Verbose = Annotated[int, flag("--verbose", _VERBOSE, "-v", count=True, show_default=False)]
_NoColor = Annotated[bool, flag("--no-color", "No colours (NO_COLOR does the same).")]


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


_AS = typer.Option(
    "--format", "-f", case_sensitive=False, callback=_one_format, help="How to write it."
)
_FORMATS: dict[type[StrEnum], Any] = {
    Format: Annotated[Format, _AS],
    RowsFormat: Annotated[RowsFormat, _AS],
    FindingsFormat: Annotated[FindingsFormat, _AS],
}
_Json = Annotated[bool, flag("--json", "Short for --format json.", callback=_one_format)]
_DELIMITERS = {",": ",", ";": ";", "|": "|", "\t": "\t", "tab": "\t"}


def _delimiter(value: str) -> str:
    if value not in _DELIMITERS:
        raise typer.BadParameter("One of , ; | and tab.")
    return _DELIMITERS[value]


Delimiter = Annotated[
    str, option("CHAR", "Of CSV: , ; | or tab.", "--delimiter", callback=_delimiter)
]
Decimal = Annotated[Literal[".", ","], flag("--decimal", "Of numbers in CSV.")]
_CONSOLE = {"quiet": (_Quiet, False), "verbose": (_Verbose, 0), "no_color": (_NoColor, False)}


def shared_options(
    *, config: bool = True, formats: type[StrEnum] | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Adds options to a command, which takes first what comes of them: a path, and the `Console`.

    --quiet, --verbose, --no-color; --config; with `formats` also --format, --json and --output,
    and where CSV is among them --delimiter and --decimal. In the docstring, which is the help, a
    paragraph that begins with `kisi ` is of examples.
    """
    shared: dict[str, tuple[Any, Any]] = {"config": (_Config, None)} if config else {}
    if formats is not None:
        shared["format_"] = (_FORMATS[formats], formats(Format.TABLE))
        shared |= {"json": (_Json, False), "output_file": (Output, None)}
        if "CSV" in formats.__members__:
            shared |= {"delimiter": (Delimiter, ","), "decimal": (Decimal, ".")}
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
            wanted: dict[str, Any] = {"color": not given.pop("no_color")}
            if formats is not None:
                form, json = Format(given.pop("format_")), given.pop("json")
                wanted |= {
                    "format": Format.JSON if json else form,
                    "file": given.pop("output_file"),
                }
            known = ("quiet", "verbose", "delimiter", "decimal")
            wanted |= {name: given.pop(name) for name in known if name in shared}
            console = Console(**wanted)
            console.start_log()
            command(*first, console, **given)

        with_shared.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        # an example is shown as it stands
        with_shared.__doc__ = re.sub(r"\n\n(?=kisi )", "\n\n\b\n", inspect.getdoc(command) or "")
        with_shared.__annotations__ = {each.name: each.annotation for each in parameters}
        del with_shared.__wrapped__
        return with_shared

    return decorate
