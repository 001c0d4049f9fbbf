"""`kisi sandbox` serves simulated systems on loopback; `kisi demo` runs the main job on them."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kisi.cli import options, output
from kisi.errors import ConfigError, ExitCode

if TYPE_CHECKING:
    from kisi.sandbox import Sandbox


def sandbox(
    directory: Annotated[
        Path, typer.Option(metavar="DIR", help="Where kisi.toml and mapping.toml are written.")
    ] = Path("kisi-sandbox"),
    fleet: Annotated[
        int,
        typer.Option(
            metavar="N", min=0, max=10_000, help="Serve N unmapped virtual servers instead."
        ),
    ] = 0,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    no_color: options.NoColor = False,
) -> None:
    """Serve a simulated Security Center and PSA on this machine, with a ready configuration.

    It serves until ^C. In another terminal: kisi preview --config DIR/kisi.toml
    """
    voice = output.voice(quiet=quiet, verbose=verbose, no_color=no_color)
    with _served(fleet, directory) as served:
        path = served.write_config(directory, mapping=not fleet)
        output.result(str(path), None)
        voice.say(f"Serving on loopback until ^C. Try:\n  kisi preview --config {path}")
        _wait()
    voice.say("Stopped.")


def demo(
    keep: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep configuration and journal here.")
    ] = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    no_color: options.NoColor = False,
) -> None:
    """Run preview, sync, sync again and status on simulated systems, on this machine only.

    Exits 0 if every step did what it should: the first sync writes, the second writes nothing.
    """
    voice = output.voice(quiet=quiet, verbose=verbose, no_color=no_color)
    with tempfile.TemporaryDirectory(prefix="kisi-demo-") as temporary:
        folder = keep or Path(temporary)
        with _served(0, folder) as served:
            path = served.write_config(folder)
            surprised = _steps(path, served, voice)
    raise typer.Exit(ExitCode.BUG if surprised else ExitCode.OK)


def _steps(path: Path, served: Sandbox, voice: output.Voice) -> bool:
    from kisi.cli import run

    config = ["--config", str(path), *_spoken(voice)]
    expected = (ExitCode.OK, ExitCode.WITHHELD)
    steps = (
        ("What would be written?", ["preview"], "nothing"),
        ("The daily run", ["sync"], "something"),
        ("The same run again", ["sync"], "nothing"),
        ("How does it stand?", ["status"], "nothing"),
    )
    surprised = False
    for title, arguments, writes in steps:
        heading = f"\n── {title}  $ kisi {' '.join(arguments)}\n"
        if not voice.quiet:
            output.write(sys.stdout, heading)
        before = len(served.writes)
        code = run([*arguments, *config])
        sent = len(served.writes) - before
        fine = code in expected and (sent > 0) is (writes == "something")
        surprised |= not fine
        verdict = "as it should be" if fine else "NOT as it should be"
        told = f"   exit code {code}, {sent} writes sent: {verdict}"
        if not voice.quiet:
            output.write(sys.stdout, told)
        elif not fine:
            output.write(sys.stdout, heading + told)
    return surprised


def _spoken(voice: output.Voice) -> list[str]:
    """The options that make each step speak as the demo was told to."""
    said = ["--verbose"] * voice.verbose
    said += ["--quiet"] if voice.quiet else []
    return said if voice.color else [*said, "--no-color"]


@contextmanager
def _served(fleet: int, folder: Path) -> Iterator[Sandbox]:
    """A sandbox that may write its configuration into `folder`.

    Raises:
        ConfigError: It is not installed, or the folder holds something of a person's.
    """
    try:
        from kisi.sandbox import Sandbox
        from kisi.sandbox.configuration import is_foreign
        from kisi.sandbox.demo import demo_sandbox
        from kisi.sandbox.demo import fleet as fleet_of
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"The sandbox needs the package {error.name}, which is not installed.",
            remedy=f"Install it into kisi's environment: pipx inject kisi {error.name}  (or, in a "
            "clone with an environment of its own: pip install '.[sandbox]')",
        ) from error
    if is_foreign(folder):
        raise ConfigError(
            f"{folder} holds a configuration that is not a sandbox's. Nothing was started, and "
            "everything there is as it was.",
            remedy="Name a folder of its own.",
        )
    with Sandbox(fleet_of(fleet).world) if fleet else demo_sandbox() as served:
        yield served


def _wait() -> None:
    """Until ^C or SIGTERM."""
    from kisi.cli.signals import stopping

    with stopping("Stopping the simulated systems.") as stop:
        while not stop.asked.wait(0.2):
            continue
