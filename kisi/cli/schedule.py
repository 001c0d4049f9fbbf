"""`kisi schedule`: the daily run for systemd, cron or the Task Scheduler, with its own paths."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Annotated

import typer

from kisi.cli.options import shared_options
from kisi.cli.output import Console, result
from kisi.errors import ConfigError, StateError

Kind = StrEnum("Kind", ["SYSTEMD", "CRON", "WINDOWS"])

_FILES = {
    Kind.SYSTEMD: ("kisi.service", "kisi.timer", "kisi-failed.service", "kisi-by-hand"),
    Kind.CRON: ("kisi.cron",),
    Kind.WINDOWS: ("kisi-task.xml",),
}
_STEPS = {
    Kind.SYSTEMD: """\
As root, from the folder of these files ({made}):
  useradd --system --home-dir {folder} --shell /usr/sbin/nologin {account}    # if there is none
  install -d -m 0700 -o {account} {folder}
  install -m 0644 kisi.service kisi.timer kisi-failed.service /etc/systemd/system/
  install -m 0755 kisi-by-hand /usr/local/sbin/
  systemctl daemon-reload
  kisi-by-hand check --online
  systemctl enable --now kisi.timer""",
    Kind.CRON: """\
As root, from the folder of this file ({made}):
  install -d -m 0700 -o {account} {folder}
  sudo -u {account} {command} check --config {config}
  install -m 0644 kisi.cron /etc/cron.d/kisi""",
    Kind.WINDOWS: """\
As an administrator, from the folder of this file ({made}); the account needs the right
"Log on as a batch job" (secpol.msc):
  mkdir {folder}
  icacls {folder} /inheritance:r /grant:r "*S-1-5-32-544:(OI)(CI)F" "*S-1-5-18:(OI)(CI)F"
  icacls {folder} /grant:r "{account}:(OI)(CI)M"
  schtasks /Create /TN kisi /XML kisi-task.xml /RU "{account}" /RP *
  schtasks /Run /TN kisi
  schtasks /Query /TN kisi /V /FO LIST    (Last Result is kisi's exit code)""",
}


@dataclass(frozen=True, slots=True)
class Installation:
    """What a schedule has to name."""

    command: tuple[str, ...]
    config: str
    state_dir: str
    account: str
    credentials: tuple[str, ...] = ()
    """Names of the credentials that kisi.toml refers to (systemd)."""
    at: str = "06:30"


@shared_options()
def schedule(
    config: Path | None,
    console: Console,
    kind: Annotated[
        Kind, typer.Argument(metavar="systemd|cron|windows", help="What is to start the runs.")
    ],
    at: Annotated[str, typer.Option(metavar="HH:MM", help="When, every day.")] = "06:30",
    account: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who runs it; without it, you.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="DIR", help="Write the files into a folder.")
    ] = None,
) -> None:
    """Print a schedule for the daily run, and how to install it.

    It names this installation's own program, kisi.toml, state folder and account.
    """
    from kisi.config.load import default_state_dir
    from kisi.run.setup import partial_config

    if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", at):
        raise typer.BadParameter(f"{at[:40]!r} is not a time such as 06:30.", param_hint="--at")
    if (kind is Kind.WINDOWS) is not (sys.platform == "win32"):
        raise typer.BadParameter(f"There is no {kind} on this machine.", param_hint="schedule")
    settings = partial_config(config).config
    secrets = list(settings.references())
    installation = Installation(
        own_command(),
        str(settings.path),
        str(settings.state_dir),
        account or _own_account(),
        tuple(dict.fromkeys(one.target for one in secrets if one.scheme == "credential")),
        at,
    )
    made, files = "written with --output DIR", schedule_files(kind, installation)
    if output is None:
        result("\n".join(files.values()), None)
    else:
        made = str(output)
        _write(output, files)
    values = (_for_cmd if kind is Kind.WINDOWS else _for_shell)(installation)
    console.info(_STEPS[kind].format(made=made, **values))
    if sys.platform != "win32" and settings.state_dir == default_state_dir():
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
    return {name: _filled(name, _QUOTED[Path(name).suffix](installation)) for name in _FILES[kind]}


def _filled(name: str, values: dict[str, str]) -> str:
    text = Path(__file__).with_name("schedules").joinpath(name).read_text(encoding="utf-8")
    return re.sub(r"@(\w+)@", lambda found: values[found[1]], text)


def own_command() -> tuple[str, ...]:
    """How this kisi is started: its own program, or the module where there is none."""
    started = Path(sys.argv[0]).absolute()
    for program in (started, started.with_suffix(".exe")):
        if program.stem == "kisi" and program.is_file():
            return (str(program),)
    return sys.executable, "-m", "kisi"


def _own_account() -> str:
    import getpass

    name = getpass.getuser()
    if domain := os.environ.get("USERDOMAIN", "") if sys.platform == "win32" else "":
        return f"{domain}\\{name}"
    return "kisi" if name == "root" else name


def _write(folder: Path, files: dict[str, str]) -> None:
    from kisi.files import atomic_write

    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            # the Task Scheduler exports and reads UTF-16
            encoding = "utf-16" if name.endswith(".xml") else "utf-8"
            atomic_write(folder / name, text.encode(encoding))
    except OSError as error:
        raise StateError(
            f"The schedule could not be written to {folder}: {error.strerror}.",
            remedy="Choose another folder: --output DIR.",
        ) from error


# --- values, as each kind of file quotes them -----------------------------------------------------


def _quoted(installation: Installation, quote: Callable[[str], str]) -> dict[str, str]:
    hour, _, minute = installation.at.partition(":")
    return {
        "command": " ".join(map(quote, installation.command)),
        "config": quote(installation.config),
        "folder": quote(installation.state_dir),
        "account": installation.account,
        "at": installation.at,
        "hour": str(int(hour)),
        "minute": str(int(minute)),
    }


def _for_systemd(installation: Installation) -> dict[str, str]:
    secrets, state = PurePosixPath(installation.config).parent / "secrets", installation.state_dir
    named = (*installation.command, installation.config, state)
    at_home = any(one.startswith(("/home/", "/root/")) for one in named)
    return _quoted(installation, _unit_word) | {
        "credentials": "".join(
            f"LoadCredential={name}:{_specifiers(str(secrets / name))}\n"
            for name in installation.credentials
        ),
        "state": "\n".join(_state_properties(state)),
        "home": "read-only" if at_home else "yes",
    }


def _for_shell(installation: Installation) -> dict[str, str]:
    properties = (f"--property={one}" for one in _state_properties(installation.state_dir))
    return _quoted(installation, shlex.quote) | {"properties": shlex.join(properties)}


def _for_cron(installation: Installation) -> dict[str, str]:
    return _quoted(installation, lambda text: shlex.quote(text).replace("%", r"\%"))


def _for_cmd(installation: Installation) -> dict[str, str]:
    state = installation.state_dir
    log = _cmd_word(f"{state}\\schedule.log")
    return _quoted(installation, _cmd_word) | {"log": log, "directory": state}


def _for_xml(installation: Installation) -> dict[str, str]:
    from html import escape

    return {name: escape(value, quote=False) for name, value in _for_cmd(installation).items()}


_QUOTED = {
    ".service": _for_systemd,
    ".timer": _for_systemd,
    ".cron": _for_cron,
    ".xml": _for_xml,
    "": _for_shell,
}
"""What fills a file, by the end of its name."""


def _state_properties(state: str) -> tuple[str, ...]:
    root = "/var/lib/"
    if state.startswith(root):  # made by systemd, for its user alone
        return f"StateDirectory={_unit_word(state.removeprefix(root))}", "StateDirectoryMode=0700"
    return (f"ReadWritePaths={_unit_word(state)}",)


def _specifiers(text: str) -> str:
    return text.replace("%", "%%")


def _unit_word(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return _specifiers(escaped if re.fullmatch(r"[\w/.:@+=,-]+", text) else f'"{escaped}"')


def _cmd_word(text: str) -> str:
    """In quotes, which keep everything for `cmd /s /c` but a `%`."""
    if "%" in text:
        raise ConfigError(
            f"{text} cannot be scheduled: the command prompt takes % for a variable.",
            remedy="Use a folder without % in its name.",
        )
    return f'"{text}"'
