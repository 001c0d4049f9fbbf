from __future__ import annotations

import stat
import tomllib

import pytest
import requests

from kisi.sandbox import Sandbox
from kisi.sandbox.certificate import Certificate
from kisi.sandbox.configuration import Part
from kisi.sandbox.http import Exchange, Server
from kisi.sandbox.world import APPLICATION, World
from tests.conftest import WINDOWS


def test_the_configuration_names_the_servers_and_keeps_secrets_in_private_files(tmp_path):
    with Sandbox() as sandbox:
        path = sandbox.write_config(tmp_path / "made")
        config = tomllib.loads(path.read_text(encoding="utf-8"))
        hq, cw = config["sources"]["hq"], config["psa"]["cw"]

        assert hq["url"] == sandbox.ksc_server.url
        assert hq["fingerprints"] == [sandbox.ksc_server.fingerprint]
        assert cw["url"] == sandbox.cw_server.url
        assert config["state_dir"] == "state"
        for reference in (hq["password"], cw["private_key"], cw["client_id"]):
            kind, _, name = reference.partition(":")
            file = path.parent / name
            assert (kind, bool(file.read_text(encoding="utf-8"))) == ("file", True)
            if not WINDOWS:
                assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert sandbox.cw.private_key not in path.read_text(encoding="utf-8")


def test_a_rotated_certificate_is_in_the_next_configuration(tmp_path):
    with Sandbox() as sandbox:
        before = sandbox.write_config(tmp_path).read_text(encoding="utf-8")
        sandbox.ksc_server.present(Certificate.make())
        after = sandbox.write_config(tmp_path).read_text(encoding="utf-8")

    assert before != after
    assert sandbox.ksc_server.fingerprint in after


def test_the_mapping_may_be_left_out_and_shows_every_kind_of_row(tmp_path):
    world = World()
    three = {
        "windows_workstations": world.product("W"),
        "windows_servers": world.product("S"),
        "non_windows": 1999,
    }
    world.billing.bill(APPLICATION, keys=["Kaspersky*Advanced*"], **three)
    world.billing.bill("Mailboxes", unit="mailbox", all=world.product("M"))
    contoso = world.client("Contoso", workstations=1)
    contoso.more_tenants.append("hub:Contoso Ltd")
    contoso.billing = False
    world.client("Fabrikam", mapped=False)

    with Sandbox(world) as sandbox:
        sandbox.write_config(tmp_path, mapping=False)
        assert not (tmp_path / "mapping.toml").exists()
        sandbox.write_config(tmp_path)

    mapping = tomllib.loads((tmp_path / "mapping.toml").read_text(encoding="utf-8"))
    assert mapping["application"] == [
        {"name": APPLICATION, "keys": ["Kaspersky*Advanced*"]},
        {"name": "Mailboxes", "unit": "mailbox"},
    ]
    assert mapping["product"][0] == {
        "application": APPLICATION,
        "psa": "cw",
        "windows_workstations": 1201,
        "windows_servers": 1202,
        "non_windows": 1999,
    }
    assert [row["name"] for row in mapping["company"]] == ["Contoso"]
    assert mapping["company"][0]["tenants"] == [f"hq:{contoso.tenant}", "hub:Contoso Ltd"]
    assert mapping["company"][0]["billing"] is False


@pytest.mark.parametrize("late", [False, True])
def test_more_can_be_simulated_with_servers_files_and_rows_of_their_own(tmp_path, late):
    def handle(exchange: Exchange) -> None:
        exchange.respond(200, b"hello")

    sandbox = Sandbox()
    server = Server("more", handle, log=sandbox.log)
    part = Part(
        "more",
        server,
        '[psa.more]\nkind = "more"\n',
        {"more-key": "secret"},
        {"exports/report.csv": b"a,b\n"},
        '[[company]]\nname = "More"\n',
    )
    if not late:
        sandbox.add(part)
    sandbox.add(Part("files alone", files={"x.csv": b"x"}))
    with sandbox:
        if late:
            sandbox.add(part)
        path = sandbox.write_config(tmp_path)
        assert requests.get(server.url, timeout=10).content == b"hello"

    assert tomllib.loads(path.read_text(encoding="utf-8"))["psa"]["more"] == {"kind": "more"}
    assert (tmp_path / "secrets" / "more-key").read_text(encoding="utf-8") == "secret"
    assert (tmp_path / "exports" / "report.csv").read_bytes() == b"a,b\n"
    assert (tmp_path / "x.csv").read_bytes() == b"x"
    mapping = tomllib.loads((tmp_path / "mapping.toml").read_text(encoding="utf-8"))
    assert mapping["company"] == [{"name": "More"}]
    assert [logged.path for logged in sandbox.requests("more")] == ["/"]
    assert sandbox.requests("more", "POST") == []


def test_a_bug_in_one_simulated_server_is_raised_after_all_were_closed():
    def handle(exchange: Exchange) -> None:
        raise RuntimeError(exchange.path)

    sandbox = Sandbox()
    server = Server("buggy", handle)
    sandbox.parts.insert(0, Part("buggy", server))
    sandbox.start()
    requests.get(server.url, timeout=10)

    with pytest.raises(ExceptionGroup, match="sandbox failed"):
        sandbox.close()

    with pytest.raises(requests.ConnectionError):
        requests.get(sandbox.cw_server.url, timeout=10)


def test_connectwise_can_be_served_over_https():
    certificate = Certificate.make(names=["localhost"])

    with Sandbox(cw_tls=certificate) as sandbox:
        assert sandbox.cw_server.url.startswith("https://")
        assert sandbox.cw_server.certificate is certificate
