"""The messages to people of `[notify] apprise`: whatever becomes of them, billing goes on."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from kisi.sandbox.configuration import write_secret
from tests.faults.conftest import Trial
from tests.faults.monitor import TOKEN, Behave, Monitor, answer, hang_up


def tell(trial: Trial, url: str) -> None:
    """From now on people are told of each run at this address."""
    trial.operator.write_files()
    write_secret(trial.operator.folder / "secrets" / "people", url)
    trial.operator.more = '[notify]\napprise = ["file:secrets/people"]\nwhen = "always"\n'


def billed_all_the_same(trial: Trial, said: str, *secrets: str) -> None:
    """A run with its warning, in which no secret stands anywhere."""
    result = trial.operator.run("sync", "-vv")

    assert result.code == 0
    assert trial.contoso.quantities == {trial.product: 8}
    assert result.err.count(said) == 1
    log = (trial.operator.state / "kisi.log").read_text(encoding="utf-8")
    assert not [each for each in (TOKEN, *secrets) if each in result.err + result.out + log]
    trial.operator.more = ""
    trial.heals()


@pytest.mark.fault(
    62,
    injection="a service of `[notify] apprise` answers 500 or 403, hangs, or hangs up",
    outcome="a warning, without the address; exit code and bills as ever",
)
@pytest.mark.parametrize(
    ("behave", "said"),
    [
        (answer(500), "The monitoring service answered 500."),
        (answer(403), "The monitoring service answered 403."),
        (lambda exchange: exchange.wait(60), "The monitoring service did not take the message."),
        (hang_up, "The monitoring service did not take the message."),
    ],
    ids=["500", "403", "hangs", "hangs up"],
)
def test_a_message_that_nobody_takes_is_a_warning(billed: Trial, behave: Behave, said: str):
    service = Monitor(behave)
    port = service.url.rpartition(":")[2].partition("/")[0]
    tell(billed, service.url.replace("http:", "json:", 1) + "?rto=0.3")

    try:
        billed_all_the_same(billed, said, f":{port}")
    finally:
        service.close()


def _raises(*_: object, **__: object) -> None:
    raise RuntimeError(f"broken, and it says {TOKEN}")


@pytest.mark.fault(
    62,
    injection="`[notify] apprise` without its package, or the package fails",
    outcome="a warning, with the command that brings it; exit code and bills as ever",
)
@pytest.mark.parametrize(
    ("package", "said"),
    [
        (None, "needs the package apprise in kisi's environment: run `pipx inject kisi apprise`"),
        (SimpleNamespace(AppriseAsset=_raises), "could not be told: Apprise failed."),
    ],
    ids=["missing", "fails"],
)
def test_an_apprise_that_is_missing_or_fails_is_a_warning(
    billed: Trial, monkeypatch: pytest.MonkeyPatch, package: SimpleNamespace | None, said: str
):
    tell(billed, f"json://127.0.0.1:9/{TOKEN}")
    monkeypatch.setitem(sys.modules, "apprise", package)

    billed_all_the_same(billed, said)


@pytest.mark.fault(
    62,
    injection="an address of `[notify] apprise` is of no service that Apprise knows",
    outcome="a warning, without the address; exit code and bills as ever",
)
def test_an_address_of_no_known_service_is_a_warning(billed: Trial):
    tell(billed, f"pigeon://{TOKEN}")

    billed_all_the_same(billed, "could not be told: its address is none that Apprise knows.")
