"""What the operator reads of an error holds no secret, whatever letters it is made of."""

from __future__ import annotations

import pytest

from kisi.cli.output import explain_error
from kisi.errors import ConfigError, ExitCode, SourceError
from kisi.reconcile.collect import failure
from kisi.redaction import REDACTOR, Redactor

SECRET = "p\xa0ss\tw\u202erd"


@pytest.fixture(autouse=True)
def known(monkeypatch):
    fresh = Redactor()
    fresh.add(SECRET)
    monkeypatch.setattr(REDACTOR, "opening", fresh.opening)


def test_a_secret_that_would_be_escaped_is_masked_before_it_is():
    error = SourceError(f"The server said {SECRET}.", remedy=f"Ask for {SECRET}.")
    assert explain_error(error) == "Error: The server said ***.\nTo do: Ask for ***."
    assert explain_error(ConfigError([])) == "Error: "


def test_what_a_run_keeps_of_an_error_holds_no_secret_in_its_remedy_either():
    kept = failure(
        "source-incomplete", SourceError(f"No {SECRET}.", remedy=f"Try {SECRET}."), ExitCode.SOURCE
    )
    assert (kept.reason, kept.remedy, kept.exit_code) == ("No ***.", "Try ***.", ExitCode.SOURCE)
