"""`kisi sandbox` serves simulated systems on loopback; `kisi demo` runs the main job on them."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kisi.cli.output import Console, result, write
from kisi.cli.shared_options import shared_options
from kisi.errors import ConfigError, ExitCode

if TYPE_CHECKING:
    from kisi.sandbox import Sandbox


@shared_options(config=False)
def sandbox(
    console: Console,
    directory: Annotated[
        Path, typer.Option(metavar="DIR", help="Where kisi.toml and mapping.toml are written.")
    ] = Path("kisi-sandbox"),
    fleet: Annotated[
        int,
        typer.Option(
            metavar="N", min=0, max=10_000, help="Serve N unmapped virtual servers instead."
        ),
    ] = 0,
) -> None:
    """Serve a simulated Security Center and PSA on this machine, with a ready configuration.

    It serves until ^C. In another terminal: kisi preview --config DIR/kisi.toml
    """
    with _served(fleet, directory) as served:
        path = served.write_config(directory, mapping=not fleet)
        result(str(path), None)
        console.info(f"Serving on loopback until ^C. Try:\n  kisi preview --config {path}")
        _wait()
    console.info("Stopped.")


@shared_options(config=False)
def demo(
    console: Console,
    keep: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep configuration and journal here.")
    ] = None,
) -> None:
    """Run preview, sync, sync again and status on simulated systems, on this machine only.

    Exits 0 if every step did what it should: the first sync writes, the second writes nothing.
    """
    with tempfile.TemporaryDirectory(prefix="kisi-demo-") as temporary:
        folder = keep or Path(temporary)
        with _served(0, folder) as served:
            path = served.write_config(folder)
            surprised = _steps(path, served, console)
    raise typer.Exit(ExitCode.BUG if surprised else ExitCode.OK)


def _steps(path: Path, served: Sandbox, console: Console) -> bool:
    from kisi.cli import run

    config = ["--config", str(path), *_options(console)]
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
        if not console.quiet:
            write(sys.stdout, heading)
        before = len(served.writes)
        code = run([*arguments, *config])
        sent = len(served.writes) - before
        fine = code in expected and (sent > 0) is (writes == "something")
        surprised |= not fine
        summary = "as it should be" if fine else "NOT as it should be"
        said = f"   exit code {code}, {sent} writes sent: {summary}"
        if not console.quiet:
            write(sys.stdout, said)
        elif not fine:
            write(sys.stdout, heading + said)
    return surprised


def _options(console: Console) -> list[str]:
    """The options that each step is run with, as the demo itself."""
    said = ["--verbose"] * console.verbose
    said += ["--quiet"] if console.quiet else []
    return said if console.color else [*said, "--no-color"]


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
    from kisi.cli.signals import handle_signals

    with handle_signals("Stopping the simulated systems.") as stop:
        while not stop.requested.wait(0.2):
            continue
