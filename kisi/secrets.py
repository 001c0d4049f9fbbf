"""Secrets: how `kisi.toml` names them, where they are kept, and whom they may be told to.

No message repeats a secret, nor what was written in place of a reference: it may well be the secret
itself. It goes only to a server whose certificate is trusted, or to this machine itself.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import stat
import sys
from dataclasses import dataclass
from importlib import import_module
from ipaddress import ip_address
from pathlib import Path

from kisi.errors import ConfigError
from kisi.files import open_regular, why_not_used
from kisi.redaction import REDACTOR

if sys.platform == "win32":
    from kisi import windows

FORMS = '"env:NAME", "file:PATH", "credential:NAME" or "keyring:SERVICE/USER"'
"""All forms of a reference, as messages list them."""

_TARGETS = {
    "env": re.compile(r"[A-Za-z_][A-Za-z0-9_]*"),  # an environment variable
    "file": re.compile(r"[^\x00-\x1f]+"),  # a file that only its owner can read
    "credential": re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*"),  # of a service, systemd.exec(5)
    "keyring": re.compile(r"[^\x00-\x1f]+/[^/\x00-\x1f]+"),  # by the optional package `keyring`
}
"""Where a secret can be kept, and what the name of such a place may be."""


@dataclass(frozen=True, slots=True)
class SecretReference:
    """A parsed reference: a place of `FORMS`, and where in it."""

    scheme: str
    target: str
    """The variable, path, credential name, or `SERVICE/USER`."""

    @classmethod
    def parse(cls, text: str) -> SecretReference:
        """Reads a reference; `ValueError` if `text` is none. The message does not repeat it."""
        scheme, colon, target = text.partition(":")
        if not colon or scheme not in _TARGETS:
            raise ValueError(f"A secret is given by reference, never by value: write {FORMS}.")
        if not _TARGETS[scheme].fullmatch(target):
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
    return f"env:KISI_{name.upper()}"


_LARGEST = 64 * 1024
_HAS_MODES = os.name == "posix"
"""Windows guards files by access lists instead (kisi/windows.py)."""


def resolve(reference: str, *, base: Path, hidden: bool = True) -> str:
    """Fetches one secret and registers it with `REDACTOR`, unless it is not to be `hidden`.

    A relative path starts from `base`. Line ends at the end are dropped: editors add one.
    `ConfigError` if there is no such secret, it is empty, or others can read or replace it.
    """
    try:
        parsed = SecretReference.parse(reference)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    target = parsed.target
    match parsed.scheme:
        case "env":
            if target not in os.environ:
                raise ConfigError(
                    f"The environment variable {target} is not set for the user that runs kisi."
                )
            secret = os.environ[target]
        case "file":
            secret = _from_file(target, base)
        case "credential":
            folder = os.environ.get("CREDENTIALS_DIRECTORY")
            if not folder:
                raise ConfigError(
                    f"There is no {parsed}, because kisi was not started by systemd with "
                    f"credentials. Put LoadCredential={target}:PATH into the service, or use env: "
                    "or file:."
                )
            secret = _read(Path(folder) / target, private=False)
        case _:
            secret = _from_keyring(target)
    secret = secret.rstrip("\r\n")
    if not secret:
        raise ConfigError(f"The secret {parsed} is empty.")
    if any(char in "\r\n\0" or "\ud800" <= char <= "\udfff" for char in secret):
        raise ConfigError(f"The secret {parsed} is not one line of UTF-8 text.")
    if hidden:
        REDACTOR.add(secret)
    return secret


def _from_file(target: str, base: Path) -> str:
    try:
        path = base / Path(target).expanduser()
    except RuntimeError:
        raise ConfigError(f"There is no home folder for file:{target}.") from None
    return _read(path, private=True)


def _read(path: Path, *, private: bool) -> str:
    """The text of a small file; with `private` only if no other user can read or change it."""
    try:
        with open_regular(path) as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            raw = file.read(_LARGEST + 1)
    except OSError as error:
        raise ConfigError(f"The file {path} cannot be read: {error.strerror}.") from None
    if private and sys.platform == "win32":
        if found := windows.exposed(path, windows.READ | windows.WRITE):
            raise ConfigError(f"The file {path} is open to {found[0]}. Run {found[1]}.")
    elif private and _HAS_MODES:
        if mode & 0o077:
            raise ConfigError(
                f"The file {path} is open to other users (mode {mode:04o}). "
                f"Run `chmod 600 {shlex.quote(str(path))}`."
            )
        if foreign := why_not_used(path):
            raise ConfigError(foreign)
    if len(raw) > _LARGEST:
        raise ConfigError(f"The file {path} is too large to hold a secret.")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(f"The file {path} is not UTF-8 text.") from None


def _from_keyring(target: str) -> str:
    service, _, user = target.rpartition("/")
    try:
        keyring, errors = import_module("keyring"), import_module("keyring.errors")
    except ImportError:
        raise ConfigError(
            f"keyring:{target} needs the package keyring in kisi's environment: run `pipx inject "
            "kisi keyring`, or see docs/configuration.md#secrets."
        ) from None
    try:
        secret: str | None = keyring.get_password(service, user)
    except (errors.KeyringError, RuntimeError, OSError) as error:
        raise ConfigError(
            f"The keyring gave no keyring:{target} ({type(error).__name__}). A job without a "
            "login session often has no keyring; use file: or credential: there."
        ) from None
    if secret is None:
        raise ConfigError(
            f"The keyring holds no keyring:{target}. "
            f"Run `keyring set {shlex.quote(service)} {shlex.quote(user)}`."
        )
    return secret


def fingerprint(der: bytes) -> str:
    """The fingerprint of a certificate."""
    return f"sha256:{hashlib.sha256(der).hexdigest()}"


def normal_fingerprint(text: str) -> str:
    """A fingerprint as `fingerprint` writes it, of one with colons, spaces or upper case."""
    algorithm, _, digits = text.strip().lower().partition(":")
    digits = re.sub(r"[:\s]", "", digits)
    if algorithm != "sha256" or not re.fullmatch(r"[0-9a-f]{64}", digits):
        raise ValueError(
            'This is not a fingerprint: write "sha256:" and 64 hexadecimal digits, as '
            "`kisi check --online` prints them."
        )
    return f"sha256:{digits}"


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine itself: `localhost`, 127.0.0.0/8 or ::1."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
