"""Proving the Tigerpaw template: a person at a terminal, and a scratch agreement."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kisi.journal import Journal
from kisi.run.setup import load
from kisi.sandbox import Sandbox
from kisi.sandbox.tigerpaw import Tigerpaw
from kisi.sandbox.tigerpaw_records import Agreement
from kisi.sandbox.world import APPLICATION, World
from tests.conftest import posix_terminal

pytestmark = posix_terminal


@dataclass
class Stand:
    sandbox: Sandbox
    tigerpaw: Tigerpaw
    scratch: Agreement
    config: Path

    def probe(self, agreement: int | str, *answers: str) -> tuple[int, str]:
        """Runs the probe on a terminal; each answer is typed at one question."""
        import pexpect

        terminal = pexpect.spawn(
            sys.executable,
            ["-m", "kisi", "check", "--probe-tigerpaw", str(agreement), "-c", str(self.config)],
            dimensions=(50, 200),
            encoding="utf-8",
            timeout=30,
        )
        for answer in answers:
            terminal.expect([r"agreement: ", r"\[y/N\]: "])
            terminal.sendline(answer)
        seen = terminal.read()
        terminal.close()
        return terminal.exitstatus, seen


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    world = World()
    world.billing.bill(APPLICATION, all=world.product("KES").id)
    world.client("Contoso", workstations=2)
    tigerpaw = Tigerpaw(world.now)
    tigerpaw.item("KES-TP", 3.0)
    scratch = tigerpaw.agreement(tigerpaw.account("Scratch"))
    tigerpaw.charge(scratch, tigerpaw.item("MANUAL", 10.0), 4)
    with Sandbox(world) as sandbox:
        server = tigerpaw.serve(faults=sandbox.faults, log=sandbox.log)
        sandbox.add(tigerpaw.part(server))
        yield Stand(sandbox, tigerpaw, scratch, sandbox.write_config(tmp_path))


def quantities(stand: Stand) -> dict[str, int]:
    return {charge.item: charge.quantity for charge in stand.tigerpaw.charges(stand.scratch)}


def test_a_template_is_proven_step_by_step_and_other_charges_stay(stand):
    code, seen = stand.probe(stand.scratch.number, "KES-TP", "y")
    assert code == 0
    assert "soap_template_verified = true" in seen
    assert quantities(stand) == {"MANUAL": 4, "KES-TP": 0}


def test_nothing_is_sent_unless_the_person_agrees(stand):
    code, _ = stand.probe(stand.scratch.number, "KES-TP", "n")
    assert code != 0
    assert quantities(stand) == {"MANUAL": 4}


def test_a_clients_own_agreement_is_no_scratch_agreement(stand):
    (client,) = stand.sandbox.world.clients
    mapping = stand.config.with_name("mapping.toml")
    mapping.write_text(
        mapping.read_text(encoding="utf-8")
        + f'[[company]]\nname = "Adatum"\ntenants = ["hq:VSRV-2"]\npsa = "tp"\n'
        f"company = 1\nagreement = {stand.scratch.number}\nbilling = false\n",
        encoding="utf-8",
    )
    code, seen = stand.probe(stand.scratch.number)
    assert (code, "belongs to Adatum" in seen) == (3, True)
    code, seen = stand.probe(client.agreement_id, "KES-TP")
    assert (code, "Contoso" in seen) == (5, False)
    assert stand.sandbox.writes == []


def test_of_several_tigerpaws_the_one_to_prove_must_be_named(stand):
    text = stand.config.read_text(encoding="utf-8")
    section = text[text.index("[psa.tp]") :].partition("\n[")[0]
    second = section.replace("[psa.tp]", "[psa.other]") + "\n"
    stand.config.write_text(text + "\n" + second, encoding="utf-8")
    number = stand.scratch.number
    for unnamed in (number, f"cw:{number}"):
        code, seen = stand.probe(unnamed)
        assert code == 3
        assert "kisi.toml has other, tp" in seen
        assert f"--probe-tigerpaw other:{number}" in seen
    code, _ = stand.probe(f"tp:{number}", "KES-TP", "y")
    assert code == 0
    assert quantities(stand) == {"MANUAL": 4, "KES-TP": 0}


def test_a_service_that_replaces_all_charges_fails_the_probe(stand):
    stand.tigerpaw.replace = True
    code, seen = stand.probe(stand.scratch.number, "KES-TP", "y")
    assert code == 7
    assert "MANUAL" in seen
    with Journal.open(load(stand.config)[0].state_dir, readonly=True) as journal:
        (found,) = journal.foreign_changes()
    assert (found.psa, found.agreement) == ("tp", str(stand.scratch.number))
