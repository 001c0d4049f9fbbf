"""How the fingerprint of a certificate is written: `sha256:` and 64 hexadecimal digits."""

from __future__ import annotations

import hashlib
import re


def fingerprint(der: bytes) -> str:
    """The fingerprint of a certificate."""
    return f"sha256:{hashlib.sha256(der).hexdigest()}"


def normal_fingerprint(text: str) -> str:
    """A fingerprint as `fingerprint` writes it; people also write it with colons and spaces.

    Raises:
        ValueError: It is not one.
    """
    algorithm, _, digits = text.strip().lower().partition(":")
    digits = re.sub(r"[:\s]", "", digits)
    if algorithm != "sha256" or not re.fullmatch(r"[0-9a-f]{64}", digits):
        raise ValueError(
            'This is not a fingerprint: write "sha256:" and 64 hexadecimal digits, as '
            "`kisi check --online` prints them."
        )
    return f"sha256:{digits}"
