"""How `kisi.toml` names a secret without holding it: `env:NAME`, `file:PATH` and so on.

Pure grammar, shared by `kisi.config`, which checks references, and `kisi.credentials`, which
follows them. No message here repeats the text that was parsed: where it is not a reference, it may
well be the secret itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

FORMS = '"env:NAME", "file:PATH", "credential:NAME" or "keyring:SERVICE/USER"'
"""All forms of a reference, as messages list them."""


class Scheme(StrEnum):
    """Where a secret is kept."""

    ENV = "env"
    """An environment variable."""
    FILE = "file"
    """The text of a file that only its owner can read."""
    CREDENTIAL = "credential"
    """A credential of a systemd service (`LoadCredential=`, systemd.exec(5))."""
    KEYRING = "keyring"
    """The operating system's keyring, through the optional package `keyring`."""


_TARGET = {
    Scheme.ENV: re.compile(r"[A-Za-z_][A-Za-z0-9_]*"),
    Scheme.FILE: re.compile(r"[^\x00-\x1f]+"),
    Scheme.CREDENTIAL: re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*"),
    Scheme.KEYRING: re.compile(r"[^\x00-\x1f]+/[^/\x00-\x1f]+"),
}


@dataclass(frozen=True, slots=True)
class SecretReference:
    """A parsed reference: what kind of place, and where in it."""

    scheme: Scheme
    target: str
    """The variable, path, credential name, or `SERVICE/USER`."""

    @classmethod
    def parse(cls, text: str) -> SecretReference:
        """Reads a reference.

        Raises:
            ValueError: `text` is not one. The message says what is one, and does not repeat `text`.
        """
        head, colon, target = text.partition(":")
        if not colon or head not in set(Scheme):
            raise ValueError(f"A secret is given by reference, never by value: write {FORMS}.")
        scheme = Scheme(head)
        if not _TARGET[scheme].fullmatch(target):
            raise ValueError(
                f'What follows "{scheme}:" is not a name of that kind. References are {FORMS}.'
            )
        return cls(scheme, target)

    def __str__(self) -> str:
        return f"{self.scheme}:{self.target}"


def default_reference(section: str, field: str) -> str:
    """The reference that holds where `field` of `section` is left out.

    >>> default_reference("hq", "password")
    'env:KISI_HQ_PASSWORD'
    """
    name = re.sub(r"[^A-Za-z0-9]", "_", f"{section}_{field}")
    return f"{Scheme.ENV}:KISI_{name.upper()}"
