"""Who runs kisi, for the journal."""

from __future__ import annotations

import getpass
import os

import pytest

from kisi.run.setup import who
from tests.conftest import posix_accounts


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No variable names the account, as under systemd or in a container."""
    for name in ("SUDO_USER", "LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_behind_sudo_it_is_the_person(nobody: pytest.MonkeyPatch):
    nobody.setenv("SUDO_USER", "alice")
    nobody.setenv("USER", "root")
    assert who() == "alice"


@posix_accounts
def test_without_variables_the_system_is_asked(nobody: pytest.MonkeyPatch):
    assert who() == getpass.getuser() != "?"


@pytest.mark.parametrize("error", [OSError, KeyError, ImportError])
def test_an_account_without_a_name_is_its_number(
    nobody: pytest.MonkeyPatch, error: type[Exception]
):
    def unknown() -> str:
        raise error

    nobody.setattr(getpass, "getuser", unknown)
    nobody.setattr(os, "getuid", lambda: 1000, raising=False)
    assert who() == "uid 1000"
    nobody.delattr(os, "getuid")
    assert who() == "?"
