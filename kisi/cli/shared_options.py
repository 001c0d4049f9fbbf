"""The options that every command has, added by one decorator."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from kisi.cli import options, output

_SHARED = {
    "config": (options.Config, None),
    "quiet": (options.Quiet, False),
    "verbose": (options.Verbose, 0),
    "no_color": (options.NoColor, False),
}


def shared_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds --config, --quiet, --verbose and --no-color to a command, behind its own options.

    Args:
        command: Takes the path given with --config and the `Voice` first, then its own options.
    """
    signature = inspect.signature(command, eval_str=True)
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=value, annotation=kind)
        for name, (kind, value) in _SHARED.items()
    ]
    parameters = [
        each.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for each in list(signature.parameters.values())[2:]
    ] + shared

    @wraps(command)
    def with_shared(
        *,
        config: Path | None,
        quiet: bool,
        verbose: int,
        no_color: bool,
        **own: Any,  # noqa: ANN401 - what the command itself takes
    ) -> None:
        voice = output.voice(quiet=quiet, verbose=verbose, no_color=no_color)
        command(config, voice, **own)

    with_shared.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    with_shared.__annotations__ = {each.name: each.annotation for each in parameters}
    del with_shared.__wrapped__
    return with_shared
