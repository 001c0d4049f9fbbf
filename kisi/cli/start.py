"""What a newcomer runs first: `kisi init` writes a configuration, `kisi demo` needs none."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from kisi.cli.options import option, shared_options
from kisi.cli.output import Console, result, write
from kisi.errors import ConfigError, ExitCode, StateError

if TYPE_CHECKING:
    from kisi.sandbox import Sandbox

_NEXT_STEPS = """\
1. Fill in url, user and company in {path}, and remove the tables that you do not need.
2. Set the secrets: KISI_HQ_PASSWORD, KISI_CW_PUBLIC_KEY, KISI_CW_PRIVATE_KEY, KISI_CW_CLIENT_ID.
3. Run `kisi check`, then `kisi check --online`: it prints the certificate's fingerprint to pin.
4. Run `kisi map` to say what is billed to whom, or `kisi map list` for the ids to write by hand.
5. Run `kisi preview`. It writes nothing.
6. Run `kisi sync`, then daily: `kisi schedule systemd`, `cron` or `windows` prints what you need.
Journal, lock and log will be in {state_dir}, unless you set `state_dir`."""


@shared_options(config=False)
def init(
    console: Console,
    config: Path = option(
        "FILE", "Where to write it.", "--config", "-c", default=Path("kisi.toml")
    ),
) -> None:
    """Write a commented kisi.toml to fill in.

    kisi init
    kisi init --config /etc/kisi/kisi.toml

    Never overwrites anything.
    """
    console.info(write_template(config))


def template() -> str:
    """A kisi.toml to fill in; what starts with `#` and no space is a default or an example."""
    return Path(__file__).with_name("kisi.toml").read_text(encoding="utf-8")


def write_template(path: Path) -> str:
    """Writes the template, whole, where nothing is yet; the next steps, for the operator."""
    made = False
    try:
        with path.open("x", encoding="utf-8", newline="\n") as file:
            made = True
            file.write(template())
    except FileExistsError:
        raise ConfigError(
            f"{path} exists already, and kisi does not overwrite it.",
            remedy="Edit it, or choose another place: `kisi init --config FILE`.",
        ) from None
    except OSError as error:
        if made:
            path.unlink(missing_ok=True)
        if isinstance(error, FileNotFoundError) and not path.parent.is_dir():
            raise ConfigError(
                f"{path} was not written, because there is no folder {path.parent}.",
                remedy="Make the folder, then run `kisi init` again.",
            ) from None
        raise StateError(
            f"{path} could not be written: {error.strerror}.",
            remedy="Choose a folder that you can write to: `kisi init --config FILE`.",
        ) from error
    from kisi.config.load import default_state_dir

    return _NEXT_STEPS.format(path=path, state_dir=default_state_dir())


@shared_options(config=False)
def sandbox(
    console: Console,
    directory: Path = option(
        "DIR", "Where kisi.toml and mapping.toml are written.", default=Path("kisi-sandbox")
    ),
    fleet: int = option(
        "N", "Serve N unmapped virtual servers instead.", default=0, min=0, max=10_000
    ),
) -> None:
    """Serve simulated systems here, with a ready configuration.

    kisi sandbox --directory try
    kisi preview --config try/kisi.toml      (in another terminal)

    A Security Center, Business Hub's reports and all PSAs, on loopback, until ^C.
    """
    from kisi.cli.running import handle_signals

    with _served(directory, fleet=fleet) as served:
        path = served.write_config(directory, mapping=not fleet)
        result(str(path), None)
        console.info(f'Serving on loopback until ^C. Try:\n  kisi preview --config "{path}"')
        with handle_signals("Stopping the simulated systems.") as stop:
            while not stop.requested.wait(0.2):
                continue
    console.info("Stopped.")


@shared_options(config=False)
def demo(
    console: Console,
    keep: Path | None = option("DIR", "Keep configuration and journal here."),
) -> None:
    """Run preview, sync, sync again and status on simulated systems.

    kisi demo
    kisi demo --keep try

    On this machine alone, in seconds; five clients, of which Contoso has 90 workstations and 10
    servers, and gets a line for each. Exits 0 if every step did what it should: the first sync
    writes, the second writes nothing. `kisi sandbox` has more clients, and what can be wrong.
    """
    from kisi.cli import run

    options = [*["--verbose"] * console.verbose, *(["--quiet"] if console.quiet else [])]
    options += [] if console.color else ["--no-color"]
    steps = (
        ("What would be written?", "preview", False),
        ("The daily run", "sync", True),
        ("The same run again", "sync", False),
        ("How does it stand?", "status", False),
    )
    surprised = False
    temporary = tempfile.TemporaryDirectory(prefix="kisi-demo-")
    with temporary as made, _served(keep or Path(made)) as served:
        path = served.write_config(keep or Path(made))
        for title, command, writes in steps:
            heading, before = f"\n── {title}  $ kisi {command}\n", len(served.writes)
            if not console.quiet:
                write(sys.stdout, heading)
            code = run([command, "--config", str(path), *options])
            sent = len(served.writes) - before
            fine = code == ExitCode.OK and (sent > 0) is writes
            surprised |= not fine
            summary = "as it should be" if fine else "NOT as it should be"
            if not (console.quiet and fine):
                unsaid = heading if console.quiet else ""
                write(sys.stdout, f"{unsaid}   exit code {code}, {sent} writes sent: {summary}")
    raise typer.Exit(ExitCode.BUG if surprised else ExitCode.OK)


@contextmanager
def _served(folder: Path, *, fleet: int | None = None) -> Iterator[Sandbox]:
    """A sandbox that may write its configuration into `folder`, if that holds nobody's files.

    The first look's, or what `kisi sandbox` shows: a `fleet`, or the clients of every kind.
    """
    from kisi.sandbox import Sandbox, demo
    from kisi.sandbox.configuration import is_foreign

    if is_foreign(folder):
        raise ConfigError(
            f"{folder} holds a configuration that is not a sandbox's. Nothing was started, and "
            "everything there is as it was.",
            remedy="Name a folder of its own.",
        )
    if fleet:
        made = Sandbox(demo.fleet(fleet).world)
    else:
        made = demo.first_look() if fleet is None else demo.demo_sandbox()
    with made as served:
        yield served
