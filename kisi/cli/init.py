"""What `kisi init` writes: `kisi.toml` beside this module, with every key explained, to fill in."""

from __future__ import annotations

from pathlib import Path

from kisi.errors import ConfigError, StateError

NEXT_STEPS = """\
1. Fill in url, user and company in {path}, and remove the tables that you do not need.
2. Set the secrets: {secrets}.
3. Run `kisi check`, then `kisi check --online`: it prints the certificate's fingerprint to pin.
4. Run `kisi map` to say what is billed to whom, or `kisi map list` for the ids to write by hand.
5. Run `kisi preview`. It writes nothing.
6. Run `kisi sync`, then daily from cron, systemd or the Task Scheduler."""
"""What to do after `kisi init`."""

_SECRETS = "KISI_HQ_PASSWORD, KISI_CW_PUBLIC_KEY, KISI_CW_PRIVATE_KEY, KISI_CW_CLIENT_ID"


def template() -> str:
    """A kisi.toml to fill in.

    Lines that start with `# ` explain; lines that start with `#` and no space are settings with
    their defaults or an example, to be used by removing the `#`.
    """
    return Path(__file__).with_name("kisi.toml").read_text(encoding="utf-8")


def write_template(path: Path) -> str:
    """Writes the template to `path` and says what to do next.

    An existing file, or a link, is never replaced, and a half-written file is not left behind.

    Returns:
        The next steps, for the operator.

    Raises:
        ConfigError: There is something at `path` already, or its folder does not exist.
        StateError: It cannot be written.
    """
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
    except FileNotFoundError:
        raise ConfigError(
            f"{path} was not written, because there is no folder {path.parent}.",
            remedy="Make the folder, then run `kisi init` again.",
        ) from None
    except OSError as error:
        if made:
            path.unlink(missing_ok=True)
        raise StateError(
            f"{path} could not be written: {error.strerror}.",
            remedy="Choose a folder that you can write to: `kisi init --config FILE`.",
        ) from error
    return NEXT_STEPS.format(path=path, secrets=_SECRETS)
