from __future__ import annotations

import tomllib

import pytest
import requests

from kisi.sandbox.business_hub import BusinessHub
from kisi.sandbox.demo import demo_sandbox
from kisi.sandbox.tigerpaw import SOAP_PATH
from tests.unit.sandbox.conftest import NOW


def test_the_demo_has_every_source_and_psa_and_clients_that_need_them(tmp_path):
    sandbox = demo_sandbox(lambda: NOW)
    with sandbox:
        path = sandbox.write_config(tmp_path)

    config = tomllib.loads(path.read_text(encoding="utf-8"))
    mapping = tomllib.loads((tmp_path / "mapping.toml").read_text(encoding="utf-8"))
    assert {section["kind"] for section in config["sources"].values()} == {"ksc", "business-hub"}
    assert config["psa"]["tp"]["write"] == "soap"
    assert config["psa"]["tp"]["soap_template_verified"] is True
    tenants = {row["name"]: row["tenants"] for row in mapping["company"]}
    sources = {name: {tenant[:3] for tenant in rows} for name, rows in tenants.items()}
    assert sources["Margie's Travel"] == sources["Woodgrove Bank"] == {"hq:", "hub"}
    assert sources["Bellows College"] == {"hub"}
    assert len(tenants["School of Fine Art"]) == 2
    assert [row["name"] for row in mapping["company"] if row["psa"] == "tp"] == [
        "Graphic Design Institute",
        "Woodgrove Bank",
        "Relecloud",
    ]
    assert {row["unit"] for row in mapping["application"] if "unit" in row} == {"user", "mailbox"}


def test_the_demo_is_of_today_unless_told_otherwise():
    sandbox = demo_sandbox()
    sandbox.close()

    assert abs(sandbox.world.now() - BusinessHub().now()).total_seconds() < 60


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_only_what_asks_a_psa_for_a_change_is_a_write():
    with demo_sandbox(lambda: NOW) as sandbox, requests.Session() as http:
        http.trust_env, http.verify = False, False
        tigerpaw = next(part.server for part in sandbox.parts if part.name == "tigerpaw")
        for url in (
            sandbox.ksc_server.url + "/api/v1.0/Session.Ping",
            sandbox.cw_server.url + "/anything",
            tigerpaw.url + "/api/accounts/search",
            tigerpaw.url + SOAP_PATH,
        ):
            http.post(url, data=b"{}", timeout=10)
        http.get(sandbox.cw_server.url, timeout=10)

    assert [logged.path for logged in sandbox.writes] == ["/anything", SOAP_PATH]
