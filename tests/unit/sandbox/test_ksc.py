from __future__ import annotations

import base64
from datetime import timedelta

import pytest
import requests

from kisi.sandbox import Sandbox
from kisi.sandbox.ksc_records import OperatingSystem
from tests.unit.sandbox.conftest import Clock, KscClient

pytestmark = pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")


def test_virtual_servers_come_as_sorted_wrapped_params_from_the_main_server_only(sandbox, ksc):
    server = sandbox.world.server("Björk & Co")

    listed = ksc.session().call("VServers.GetVServers", lParentGroup=-1)["PxgRetVal"]

    assert [row["type"] for row in listed] == ["params"]
    value = listed[0]["value"]
    assert value["KLVSRV_UID"] == server.uid
    assert value["KLVSRV_DN"] == "Björk & Co"
    assert value["KLVSRV_CREATED"] == {"type": "datetime", "value": "2025-10-17T12:00:00Z"}
    assert list(value) == sorted(value)
    inside = ksc.session("Björk & Co")
    assert inside.call("VServers.GetVServers", lParentGroup=-1) == {"PxgRetVal": []}


@pytest.mark.parametrize("wrapped", [False, True])
def test_the_guard_call_tells_which_server_answers(sandbox, ksc, wrapped):
    server = sandbox.world.server("Contoso")
    sandbox.ksc.wrap_ids = wrapped
    asked = {"pValues": ["KLADMSRV_IS_VIRTUAL", "KLADMSRV_VSID"]}

    inside = ksc.session("Contoso").call("HostGroup.GetStaticInfo", **asked)["PxgRetVal"]
    main = ksc.session().call("HostGroup.GetStaticInfo", **asked)["PxgRetVal"]

    identity = {"type": "long", "value": server.id} if wrapped else server.id
    assert inside == {"KLADMSRV_IS_VIRTUAL": True, "KLADMSRV_VSID": identity}
    assert main["KLADMSRV_IS_VIRTUAL"] is False


def test_a_server_that_ignores_the_header_answers_as_the_main_server(sandbox, ksc):
    sandbox.world.server("Contoso")
    sandbox.world.server("Fabrikam")
    asked = {"pValues": ["KLADMSRV_IS_VIRTUAL", "KLADMSRV_VSID"]}
    sandbox.faults.add("twist", match="Session.StartSession@Contoso", server="Fabrikam")

    other = ksc.session("Contoso").call("HostGroup.GetStaticInfo", **asked)["PxgRetVal"]
    sandbox.ksc.ignore_vserver_header = True
    main = ksc.session("Contoso").call("HostGroup.GetStaticInfo", **asked)["PxgRetVal"]

    assert other == {"KLADMSRV_IS_VIRTUAL": True, "KLADMSRV_VSID": 2}
    assert main == {"KLADMSRV_IS_VIRTUAL": False, "KLADMSRV_VSID": 0}


def test_attributes_without_a_value_are_left_out_and_dates_may_be_empty(sandbox, ksc):
    client = sandbox.world.client("Contoso", workstations=2)
    client.first_key.suite_id = None
    session = ksc.session("Contoso")

    opened = session.keys(
        ["KLLIC_SERIAL", "KLLIC_LIMIT_DATE", "KLLIC_PROD_SUITE_ID", "KLLICSRV_KEYDATA"]
    )

    assert set(opened) == {"lKeyCount", "wstrIterator"}
    assert session.rows(opened) == [
        {
            "KLLIC_LIMIT_DATE": {"type": "datetime", "value": ""},
            "KLLIC_SERIAL": client.first_key.serial,
        }
    ]


def test_keys_that_products_only_report_are_listed_unless_stored_ones_are_asked_for(sandbox, ksc):
    client = sandbox.world.client("Contoso")
    client.key(kind="commercial", installed=False)
    session = ksc.session("Contoso")

    every = session.keys(["KLLICSRV_KEY_INSTALLED"])
    stored = session.keys(["KLLIC_SERIAL"], {"KLLICSRV_ENOPT_INSTALLED_ONLY": True})

    assert [row["KLLICSRV_KEY_INSTALLED"] for row in session.rows(every)] == [True, False]
    assert stored["lKeyCount"] == 1


def test_a_row_of_a_key_is_a_device_and_product_and_says_if_the_key_is_reserve(sandbox, ksc):
    client = sandbox.world.client("Contoso", workstations=1)
    device = client.devices()[0]
    client.first_key.use(device, product="1103", current=False).pending = True
    session = ksc.session("Contoso")

    opened = session.uses(
        client.first_key.serial,
        [
            "KLLICSRV_HOSTNAME",
            "KLLICSRV_HOST_CURRENT",
            "KLLICSRV_HOST_GRPID",
            "KLLICSRV_PRODUCT",
            "KLLIC_LIC_IS_PENDING_SUBSCRIPTION",
        ],
    )

    assert opened["lKeyCount"] == 2
    common = {"KLLICSRV_HOSTNAME": device.host_id, "KLLICSRV_HOST_GRPID": "168"}
    assert session.rows(opened) == [
        {**common, "KLLICSRV_HOST_CURRENT": True, "KLLICSRV_PRODUCT": "KES"},
        {
            **common,
            "KLLICSRV_HOST_CURRENT": False,
            "KLLICSRV_PRODUCT": "1103",
            "KLLIC_LIC_IS_PENDING_SUBSCRIPTION": True,
        },
    ]


def test_counters_of_a_key_follow_its_rows_or_contradict_them(sandbox, ksc):
    client = sandbox.world.client("Contoso", workstations=3)
    client.first_key.uses[0].current = False
    session = ksc.session("Contoso")
    fields = ["KLLIC_NHOSTS_ASCURRENT", "KLLIC_NHOSTS_ASNEXT"]

    honest = session.rows(session.keys(fields))
    client.first_key.counts = (0, 9)
    contradicting = session.rows(session.keys(fields))

    assert honest == [{"KLLIC_NHOSTS_ASCURRENT": 2, "KLLIC_NHOSTS_ASNEXT": 1}]
    assert contradicting == [{"KLLIC_NHOSTS_ASCURRENT": 0, "KLLIC_NHOSTS_ASNEXT": 9}]


def test_hosts_are_read_in_chunks_and_a_group_id_is_a_number_there(sandbox, ksc):
    client = sandbox.world.client("Contoso", servers=1, unknown=1)
    client.add_devices(OperatingSystem("Microsoft Windows Server 2025", 36871))
    session = ksc.session("Contoso")
    fields = ["KLHST_WKS_OS_NAME", "KLHST_WKS_CTYPE", "KLHST_WKS_GROUPID"]

    found = session.hosts(fields)
    accessor = found["strAccessor"]
    pages = [
        session.call("ChunkAccessor.GetItemsChunk", strAccessor=accessor, nStart=n, nCount=2)
        for n in (0, 2, 4)
    ]

    assert found["PxgRetVal"] == 3
    assert [page["PxgRetVal"] for page in pages] == [2, 1, 0]
    rows = [row["value"] for page in pages for row in page["pChunk"]["KLCSP_ITERATOR_ARRAY"]]
    assert all(row["KLHST_WKS_GROUPID"] == 168 for row in rows)
    names = {row.get("KLHST_WKS_OS_NAME") for row in rows}
    assert names == {None, "Microsoft Windows Server 2022", "Microsoft Windows Server 2025"}


def test_filters_select_hosts_and_unknown_ones_are_refused(sandbox, ksc):
    client = sandbox.world.client("Contoso", workstations=2, linux=1)
    session = ksc.session("Contoso")

    assert session.hosts([], "")["PxgRetVal"] == 3
    assert session.hosts([], '(KLHST_WKS_OS_NAME="linux*")')["PxgRetVal"] == 1
    assert (
        session.hosts([], f'KLHST_WKS_HOSTNAME = "{client.devices()[0].host_id}"')["PxgRetVal"] == 1
    )
    ordered = session.call(
        "HostGroup.FindHosts",
        wstrFilter="",
        vecFieldsToReturn=["KLHST_WKS_DN"],
        vecFieldsToOrder=[{"type": "params", "value": {"Name": "KLHST_WKS_DN", "Asc": False}}],
        lMaxLifeTime=60,
    )
    page = session.call(
        "ChunkAccessor.GetItemsChunk", strAccessor=ordered["strAccessor"], nStart=0, nCount=9
    )
    names = [row["value"]["KLHST_WKS_DN"] for row in page["pChunk"]["KLCSP_ITERATOR_ARRAY"]]
    assert names == sorted(names, reverse=True)
    assert session.hosts([], "(&(KLHST_WKS_STATUS&4<>0))")["PxgError"]["code"] == 1192


@pytest.mark.parametrize(("reading", "flags"), [("last", [False, True]), ("more", [True, False])])
def test_both_readings_of_eof_are_served_and_pages_are_capped(sandbox, ksc, reading, flags):
    client = sandbox.world.client("Contoso", workstations=5)
    sandbox.ksc.eof = reading
    sandbox.ksc.max_items = 3
    session = ksc.session("Contoso")
    iterator = session.uses(client.first_key.serial, [])["wstrIterator"]

    pages = [session.next(iterator, 500), session.next(iterator, 500), session.next(iterator)]

    assert [page["PxgRetVal"] for page in pages] == [3, 2, 0]
    assert [page["bEOF"] for page in pages[:2]] == flags
    assert pages[2]["pData"] == {"KLCSP_ITERATOR_ARRAY": []}


def test_a_twisted_list_is_cut_repeats_a_page_or_dies(sandbox, ksc):
    client = sandbox.world.client("Contoso", workstations=4)
    sandbox.world.client("Fabrikam", workstations=4)
    match = "LicenseKeys.AcquireKeyHosts@Contoso"
    sandbox.faults.add("twist", match=match, cut=1)
    sandbox.faults.add("twist", match=match, after=1, repeat_page=True)
    sandbox.faults.add("twist", match=match, after=2, dies_after=1)
    session = ksc.session("Contoso")
    fields = ["KLLICSRV_HOSTNAME"]
    serial = client.first_key.serial

    cut = session.uses(serial, fields)
    assert (cut["lKeyCount"], len(session.rows(cut))) == (4, 3)

    repeated = session.uses(serial, fields)["wstrIterator"]
    pages = [session.next(repeated, 2)["pData"] for _ in range(3)]
    assert pages[0] == pages[1] != pages[2]

    dying = session.uses(serial, fields)["wstrIterator"]
    assert session.next(dying, 2)["PxgRetVal"] == 2
    assert session.next(dying, 2)["PxgError"]["code"] == 1125
    assert not sandbox.faults.unfired


def test_an_accessor_can_repeat_its_first_page(sandbox, ksc):
    sandbox.world.client("Contoso", workstations=4)
    sandbox.faults.add("twist", match="HostGroup.FindHosts", repeat_page=True, announced=5)
    session = ksc.session("Contoso")

    found = session.hosts(["KLHST_WKS_HOSTNAME"])
    pages = [
        session.call(
            "ChunkAccessor.GetItemsChunk", strAccessor=found["strAccessor"], nStart=n, nCount=2
        )["pChunk"]
        for n in (0, 2, 2)
    ]

    assert found["PxgRetVal"] == 5
    assert pages[0] == pages[1] != pages[2]


def test_a_key_that_vanishes_between_two_calls_is_not_found(sandbox, ksc):
    client = sandbox.world.client("Contoso", workstations=1)
    serial = client.first_key.serial
    sandbox.faults.add(
        "call", match="LicenseKeys.AcquireKeyHosts", function=client.server.keys.clear
    )
    session = ksc.session("Contoso")

    assert session.keys([])["lKeyCount"] == 1
    assert session.uses(serial, [])["PxgError"]["code"] == 1186


def test_an_account_without_rights_is_denied(sandbox, ksc):
    sandbox.world.server("Contoso").readable = False
    session = ksc.session("Contoso")

    assert session.keys([])["PxgError"]["code"] == 1184
    assert session.hosts([])["PxgError"]["code"] == 1184


@pytest.mark.parametrize("method", ["VServers2.GetVServers", "Vservers.getvservers", "Session.Foo"])
def test_unknown_methods_and_wrong_case_are_no_such_call(ksc, method):
    assert ksc.session().error(method, lParentGroup=-1) == 1194


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("VServers.GetVServers", {}),
        ("VServers.GetVServers", {"lParentGroup": True}),
        ("LicenseKeys.EnumKeys", {"pFields": ["KLLIC_SERIAL"]}),
        ("LicenseKeys.EnumKeys", {"pFields": [], "pFieldsToOrder": [{"type": "params"}]}),
        ("VServers.GetVServers", {"lParentGroup": 2**31}),
        (
            "LicenseKeys.EnumKeys",
            {"pFields": [], "pFieldsToOrder": [], "pOptions": {}, "lTimeoutSec": -1},
        ),
        (
            "LicenseKeys.AcquireKeyHosts",
            {"pInData": {}, "pFields": [], "pFieldsToOrder": [], "lTimeoutSec": 0},
        ),
    ],
)
def test_missing_or_wrongly_typed_arguments_are_bad_format(ksc, method, arguments):
    assert ksc.session().error(method, **arguments) == 1192


def test_limits_of_reading_are_enforced(sandbox, ksc):
    client = sandbox.world.client("Contoso", workstations=1)
    session = ksc.session("Contoso")
    iterator = session.uses(client.first_key.serial, [])["wstrIterator"]

    assert session.next(iterator, 0)["PxgError"]["code"] == 1192
    too_long = {"wstrFilter": "", "vecFieldsToReturn": [], "lMaxLifeTime": 7201}
    assert session.error("HostGroup.FindHosts", **too_long) == 1229


def test_an_iterator_is_released_expires_and_belongs_to_its_session(
    sandbox: Sandbox, ksc: KscClient, clock: Clock
):
    sandbox.world.client("Contoso", workstations=1)
    session, other = ksc.session("Contoso"), ksc.session("Contoso")
    first = session.keys([])["wstrIterator"]
    second = session.keys([])["wstrIterator"]
    accessor = session.hosts([])["strAccessor"]
    assert sandbox.ksc.open_iterators == [first, second, accessor]

    assert session.call("GroupSyncIterator.ReleaseIterator", szwIterator=first) == {}
    assert session.call("ChunkAccessor.Release", strAccessor=accessor) == {}
    assert session.next(first)["PxgError"]["code"] == 1125
    assert other.next(second)["PxgError"]["code"] == 1125
    sandbox.ksc.sessions.idle = timedelta(hours=1)
    clock.now += timedelta(minutes=16)
    assert session.next(second)["PxgError"]["code"] == 1125


def test_sessions_end_die_and_idle_away_with_403(sandbox: Sandbox, ksc: KscClient, clock: Clock):
    sandbox.world.server("Contoso")
    sandbox.faults.add("twist", match="Session.StartSession@Contoso", dies_after=2)
    ended, dying, idle = ksc.session(), ksc.session("Contoso"), ksc.session()
    assert len(sandbox.ksc.open_sessions) == 3

    assert ended.call("Session.EndSession") == {}
    statuses = [dying.raw("Session.Ping").status_code for _ in range(3)]
    clock.now += timedelta(minutes=4)
    refusals = [ended.raw("Session.Ping"), dying.raw("Session.Ping"), idle.raw("Session.Ping")]

    assert statuses == [200, 200, 403]
    assert [(each.status_code, each.text) for each in refusals] == [(403, "Forbidden")] * 3
    assert refusals[0].headers["Content-Type"].startswith("text/plain")
    assert sandbox.ksc.open_sessions == []


def test_calls_without_a_session_are_401_in_plain_text(ksc):
    answer = ksc.post("VServers.GetVServers", {}, lParentGroup=-1)

    assert (answer.status_code, answer.text) == (401, "Authentication failure")


def test_a_login_on_the_connection_lasts_as_long_as_the_connection(ksc):
    answer = ksc.post("login", {"Authorization": ksc.authorization()})
    assert (answer.status_code, answer.json()) == (200, {})
    assert ksc.post("Session.Ping", {}).json() == {}

    ksc.http.close()

    assert ksc.post("Session.Ping", {}).status_code == 401


def test_a_login_on_the_connection_ends_and_dies_as_any_other(sandbox, ksc):
    login = {"Authorization": ksc.authorization()}
    ksc.post("login", login)
    assert ksc.post("Session.EndSession", {}).json() == {}
    assert ksc.post("Session.Ping", {}).status_code == 403

    sandbox.faults.add("twist", match="login", dies_after=1)
    ksc.post("login", login)
    assert [ksc.post("Session.Ping", {}).status_code for _ in range(2)] == [200, 403]


@pytest.mark.parametrize(
    "rest", ["", ', domain="", internal="1"', ", internal=1", ", domain=, internal=true"]
)
def test_credentials_are_read_leniently(ksc, rest):
    assert ksc.login(rest=rest).status_code == 200


def test_the_old_name_of_the_main_server_and_no_header_are_accepted(ksc):
    headers = {"Authorization": ksc.authorization()}

    assert ksc.post("Session.StartSession", headers).status_code == 200
    assert ksc.post("Session.StartSession", headers | {"X-KSC-VServer": "x"}).status_code == 200


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Basic dXNlcjpwYXNz",
        'KSCBasic user="a2lzaQ=="',
        'KSCBasic user="!", pass="?"',
        "KSCBasic user=kisi, pass=secret",
    ],
)
def test_anything_else_is_refused(ksc, authorization):
    answer = ksc.post("Session.StartSession", {"Authorization": authorization})

    assert (answer.status_code, answer.text) == (401, "Authentication failure")


def test_an_internal_user_is_no_domain_user(ksc):
    assert ksc.login(rest=', internal="0"').status_code == 401


def test_wrong_passwords_block_the_account_even_for_the_right_one(sandbox, ksc):
    sandbox.ksc.account.lockout_after = 2

    assert [ksc.login(password="wrong").status_code for _ in range(2)] == [401, 401]
    blocked = ksc.login()

    assert (blocked.status_code, blocked.json()["PxgError"]["code"]) == (200, 2013)


def test_disabled_and_unknown_virtual_servers_cannot_be_logged_in_to(sandbox, ksc):
    sandbox.world.server("Contoso", enabled=False)

    assert ksc.login("Contoso").status_code == 401
    assert ksc.login("Fabrikam").status_code == 401


def test_a_session_takes_one_request_at_a_time(sandbox, ksc):
    session = ksc.session()
    seen = []

    def meanwhile() -> None:
        with requests.Session() as other:
            other.trust_env = False
            answer = other.post(
                ksc.url + "Session.Ping", headers=session.headers, verify=False, timeout=10
            )
        seen.append(answer.status_code)

    sandbox.faults.add("call", match="VServers.GetVServers", function=meanwhile)

    assert session.raw("VServers.GetVServers", lParentGroup=-1).status_code == 200
    assert seen == [400]
    assert sandbox.ksc.violations == ["/api/v1.0/Session.Ping while another request was under way"]


def test_the_protocol_is_enforced(ksc, sandbox):
    session = ksc.session()
    base = sandbox.ksc_server.url
    headers = session.headers

    def status(method: str, url: str, **how) -> int:
        return ksc.http.request(method, url, timeout=10, **how).status_code

    assert status("GET", ksc.url + "Session.Ping", headers=headers) == 405
    assert status("POST", base + "/api/v2.0/Session.Ping", headers=headers) == 404
    text = headers | {"Content-Type": "text/plain"}
    assert status("POST", ksc.url + "Session.Ping", headers=text, data="{}") == 415
    for body in ("{", "[]"):
        answer = ksc.http.post(ksc.url + "Session.Ping", headers=headers, data=body, timeout=10)
        assert answer.json()["PxgError"]["code"] == 1192
    assert ksc.http.post(ksc.url + "Session.Ping", headers=headers, timeout=10).json() == {}


def test_base64_of_a_name_may_hold_any_letters(sandbox, ksc):
    server = sandbox.world.server("Ünïcode 東京")
    name = base64.b64encode(server.name.encode()).decode()
    headers = {"Authorization": ksc.authorization(), "X-KSC-VServer": name}

    ksc.post("Session.StartSession", headers)

    assert [session.server for session in sandbox.ksc.open_sessions] == [server]
