"""The options that commands share, added by one decorator."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from enum import StrEnum
from functools import wraps
from typing import Any

from kisi.cli import options, output
from kisi.cli.options import FindingsFormat, Format, RowsFormat

Command = Callable[..., None]

_CONFIG = {"config": (options.Config, None)}
_CONSOLE = {
    "quiet": (options.Quiet, False),
    "verbose": (options.Verbose, 0),
    "no_color": (options.NoColor, False),
}
_FORMATS: dict[type[StrEnum], Any] = {
    Format: options.As,
    RowsFormat: options.AsRows,
    FindingsFormat: options.AsFindings,
}


def shared_options(
    *, config: bool = True, formats: type[StrEnum] | None = None
) -> Callable[[Command], Command]:
    """Adds --quiet, --verbose and --no-color to a command, behind its own options.

    The command takes what comes of them first: the path given with --config, the `Console`, and
    the `OutputOptions`; then its own options.

    Args:
        config: Adds --config.
        formats: Adds --format with these choices, --json and --output.
    """
    shared: dict[str, tuple[Any, Any]] = dict(_CONFIG if config else {})
    if formats is not None:
        shared["format_"] = (_FORMATS[formats], formats(Format.TABLE))
        shared["json"] = (options.Json, False)
        shared["output_file"] = (options.Output, None)
    shared |= _CONSOLE

    def decorate(command: Command) -> Command:
        signature = inspect.signature(command, eval_str=True)
        own = list(signature.parameters.values())[1 + config + (formats is not None) :]
        parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own] + [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=value, annotation=kind)
            for name, (kind, value) in shared.items()
        ]

        @wraps(command)
        def with_shared(**given: Any) -> None:  # noqa: ANN401 - what each of the options takes
            first = [given.pop("config")] if config else []
            first.append(output.console_for(**{name: given.pop(name) for name in _CONSOLE}))
            if formats is not None:
                form, json = Format(given.pop("format_")), given.pop("json")
                file = given.pop("output_file")
                first.append(output.OutputOptions(Format.JSON if json else form, file))
            command(*first, **given)

        with_shared.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        with_shared.__annotations__ = {each.name: each.annotation for each in parameters}
        del with_shared.__wrapped__
        return with_shared

    return decorate
