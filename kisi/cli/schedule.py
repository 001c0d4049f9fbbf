"""`kisi schedule`: the daily run for systemd, cron or the Task Scheduler, with its own paths."""

from __future__ import annotations

import os
import re
import shlex
import sys
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath

import typer

from kisi.cli.options import option, shared_options
from kisi.cli.output import Console, result
from kisi.errors import ConfigError

Kind = StrEnum("Kind", ["SYSTEMD", "CRON", "WINDOWS"])
_FILES = {
    Kind.SYSTEMD: ("kisi.service", "kisi.timer", "kisi-failed.service", "kisi-by-hand"),
    Kind.CRON: ("kisi.cron",),
    Kind.WINDOWS: ("kisi-task.xml",),
}


@dataclass(frozen=True, slots=True)
class Installation:
    """What a schedule has to name; credentials are those that kisi.toml refers to (systemd)."""

    command: tuple[str, ...]
    config: str
    state_dir: str
    account: str
    credentials: tuple[str, ...] = ()
    at: str = "06:30"


@shared_options()
def schedule(
    config: Path | None,
    console: Console,
    kind: Kind = typer.Argument(metavar="systemd|cron|windows", help="What is to start the runs."),
    at: str = option("HH:MM", "When, every day.", default="06:30"),
    account: str | None = option("NAME", "Who runs it; without it, you."),
    output: Path | None = option("DIR", "Write the files into a folder.", "--output", "-o"),
) -> None:
    """Print a schedule for the daily run, and how to install it.

    kisi schedule systemd --config /etc/kisi/kisi.toml
    kisi schedule cron --at 05:45 --account kisi
    kisi schedule windows --output .

    It names this installation's own program, kisi.toml, state folder and account.
    """
    import getpass

    from kisi.config.load import default_state_dir
    from kisi.run.setup import partial_config

    if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", at):
        raise typer.BadParameter(f"{at[:40]!r} is not a time such as 06:30.", param_hint="--at")
    if (kind is Kind.WINDOWS) is not (sys.platform == "win32"):
        raise typer.BadParameter(f"There is no {kind} on this machine.", param_hint="schedule")
    settings = partial_config(config).config
    secrets, state = list(settings.references()), settings.state_dir
    passed = tuple(dict.fromkeys(one.target for one in secrets if one.scheme == "credential"))
    paths = str(settings.path), str(state)
    if account is None:
        domain = os.environ.get("USERDOMAIN", "") if sys.platform == "win32" else ""
        name = getpass.getuser()
        account = f"{domain}\\{name}" if domain else "kisi" if name == "root" else name
    installation = Installation(own_command(), *paths, account, passed, at)
    files = schedule_files(kind, installation)
    if output is None:
        result("\n".join(files.values()), None)
    else:
        with suppress(OSError):  # said when a file is to be written
            output.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            result(text, output / name)
    console.info(_filled(f"{kind}.txt", installation).rstrip())
    if sys.platform != "win32" and state == default_state_dir():
        console.warn(
            "kisi.toml sets no state_dir, whose default is in the home folder of whoever runs kisi:"
            f" set one, such as /var/lib/kisi, and let {installation.account} own it."
        )
    if variables := ", ".join(one.target for one in secrets if one.scheme == "env"):
        console.warn(
            f"A schedule has no variables of yours, but kisi.toml takes secrets from {variables}."
            " Refer to file:, credential: or keyring: instead (docs/configuration.md#secrets)."
        )


def schedule_files(kind: Kind, installation: Installation) -> dict[str, str]:
    """The files of a schedule, by name."""
    return {name: _filled(name, installation) for name in _FILES[kind]}


def own_command() -> tuple[str, ...]:
    """How this kisi is started: its own program, or the module where there is none."""
    started = Path(sys.argv[0]).absolute()
    for program in (started, started.with_suffix(".exe")):
        if program.stem == "kisi" and program.is_file():
            return (str(program),)
    return sys.executable, "-m", "kisi"


def _filled(name: str, installation: Installation) -> str:
    """A template with its values, quoted as such a file needs it."""
    text = Path(__file__).with_name("schedules").joinpath(name).read_text(encoding="utf-8")
    suffix = Path(name).suffix
    values = _values(installation, suffix, for_cmd=suffix == ".xml" or name == "windows.txt")
    if suffix == ".xml":  # of ASCII alone: it is read right whatever its encoding is taken for
        from html import escape

        values = {
            key: escape(value, quote=False).encode("ascii", "xmlcharrefreplace").decode()
            for key, value in values.items()
        }
    return re.sub(r"@(\w+)@", lambda found: values[found[1]], text)


def _values(installation: Installation, suffix: str, *, for_cmd: bool) -> dict[str, str]:
    def word(text: str) -> str:
        if for_cmd and "%" in text:
            raise ConfigError(
                f"{text} cannot be scheduled: the command prompt takes % for a variable.",
                remedy="Use a folder without % in its name.",
            )
        if for_cmd:  # quotes keep everything for `cmd /s /c` but a `%`
            return f'"{text}"'
        if suffix in {".service", ".timer"}:
            return _unit_word(text)
        return shlex.quote(text).replace("%", r"\%" if suffix == ".cron" else "%")

    one, state = installation, installation.state_dir
    secrets, below = PurePosixPath(one.config).parent / "secrets", state.removeprefix("/var/lib/")
    properties = [f"ReadWritePaths={_unit_word(state)}"]
    if below != state:  # made by systemd, for its user alone
        properties = [f"StateDirectory={_unit_word(below)}", "StateDirectoryMode=0700"]
    passed = [
        f"LoadCredential={name}:{secrets / name}".replace("%", "%%") for name in one.credentials
    ]
    at_home = any(
        path.startswith(("/home/", "/root/")) for path in (*one.command, one.config, state)
    )
    return {
        "command": " ".join(map(word, one.command)),
        "config": word(one.config),
        "folder": word(state),
        "directory": state,
        "log": word(f"{state}\\schedule.log"),
        "account": one.account,
        "grantee": one.account.removeprefix(".\\"),  # as `icacls` knows it
        "at": one.at,
        "hour": str(int(one.at[:2])),
        "minute": str(int(one.at[3:])),
        "credentials": "".join(f"{line}\n" for line in passed),
        "state": "\n".join(properties),
        "properties": shlex.join(f"--property={line}" for line in properties),
        "home": "read-only" if at_home else "yes",
    }


def _unit_word(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$").replace("%", "%%")
    return escaped if re.fullmatch(r"[\w/.:@+=,-]+", text) else f'"{escaped}"'
