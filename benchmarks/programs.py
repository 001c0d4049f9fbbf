"""What kisi is compared with, each in a process of its own that imports no more than it uses."""

from __future__ import annotations

import base64
import json
import sys
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import requests
import urllib3

API = "/v4_6_release/apis/3.0"
WORKERS, SERVERS = 4, 8
"""How many requests kisi sends at once to ConnectWise, and how many servers it reads."""
Log = list[dict[str, Any]]


def quantity(value: int) -> list[dict[str, Any]]:
    return [{"op": "replace", "path": "quantity", "value": value}]


def pyconnectwise(known: dict[str, Any], changes: list[list[int]], value: int) -> None:
    class Plain(import_module("pyconnectwise").ConnectWiseManageAPIClient):  # type: ignore[misc]
        """Over plain HTTP, which it does not know."""

        codebase = "v4_6_release/"

        def _get_url(self) -> str:
            return f"{known['cw']}{API}"

    keys = (known["client_id"], known["public_key"], known["private_key"])
    client = Plain(known["company"], "unused", *keys, codebase="v4_6_release/")
    agreements = client.finance.agreements
    for one in known["agreements"]:
        agreements.id(one).additions.get(params={"pageSize": 1000})
    for one, line in changes:
        agreements.id(one).additions.id(line).patch(quantity(value))


def connectpyse(known: dict[str, Any], changes: list[list[int]], value: int) -> None:
    client = import_module("connectwise").ConnectWiseClient(
        base_url=known["cw"],
        client=known["company"],
        username=known["public_key"],
        password=known["private_key"],
        client_id=known["client_id"],
    )
    for one in known["agreements"]:
        client.get_agreement_additions(one)
    for one, line in changes:
        client.patch(f"finance/agreements/{one}/additions", line, quantity(value))


def bare(workers: int) -> Callable[[dict[str, Any], list[list[int]], int], None]:
    def send(known: dict[str, Any], changes: list[list[int]], value: int) -> None:
        session = requests.Session()
        session.auth = (f"{known['company']}+{known['public_key']}", known["private_key"])
        session.headers["clientId"] = known["client_id"]

        def ask(call: tuple[str, str, object]) -> None:
            method, path, body = call
            session.request(method, f"{known['cw']}{API}{path}", json=body).raise_for_status()

        def batch(calls: Iterable[tuple[str, str, object]]) -> None:
            with ThreadPoolExecutor(workers) as pool:
                list(pool.map(ask, calls))

        lines = "/finance/agreements/{}/additions"
        batch([("GET", "/finance/agreements?pageSize=1000", None)])
        batch(("GET", lines.format(one) + "?pageSize=1000", None) for one in known["agreements"])
        batch(("PATCH", f"{lines.format(one)}/{line}", quantity(value)) for one, line in changes)
        batch(("GET", lines.format(one), None) for one, _ in changes)

    return send


PEERS = {
    f"{WORKERS} bare workers": bare(WORKERS),
    "bare, one after the other": bare(1),
    "pyconnectwise": pyconnectwise,
    "connectpyse-manage": connectpyse,
}


def sessions(log: Log) -> list[Log]:
    """Security Center's requests by session, each with the login that began it."""
    logins = [one for one in log if one["server"] == "ksc" and not one["session"]]
    found: dict[str, Log] = defaultdict(list)
    for one in log:
        if one["server"] == "ksc" and one["session"]:
            found[one["session"]].append(one)
    return [[login, *rest] for login, rest in zip(logins, found.values(), strict=True)]


def replay(path: str, ksc: str, cw: str) -> None:
    urllib3.disable_warnings()
    log: Log = json.loads(Path(path).read_text(encoding="utf-8"))
    http = requests.Session()
    http.verify, http.trust_env = False, False
    adapter = requests.adapters.HTTPAdapter(pool_maxsize=SERVERS + WORKERS)
    http.mount("https://", adapter)
    http.mount("http://", adapter)

    def send(base: str, one: dict[str, Any]) -> None:
        body, headers = base64.b64decode(one["body"]) or None, one["headers"]
        if one["session"]:
            headers = {**headers, "X-KSC-Session": one["session"]}
        url = base + one["path"]
        http.request(one["method"], url, params=one["query"], data=body, headers=headers)

    def session(calls: Log) -> None:
        for one in calls:
            send(ksc, one)

    mine = [one for one in log if one["server"] == "connectwise"]
    begins = next((at for at, one in enumerate(mine) if one["method"] != "GET"), len(mine))
    with ThreadPoolExecutor(SERVERS) as sources, ThreadPoolExecutor(WORKERS) as psa:
        reading = sources.map(session, sessions(log))
        list(psa.map(partial(send, cw), mine[:begins]))
        list(reading)
        list(psa.map(partial(send, cw), mine[begins:]))


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # pyconnectwise declares its models in a deprecated way
    if sys.argv[1] in PEERS:
        PEERS[sys.argv[1]](*json.loads(sys.argv[2]))
    else:
        replay(*sys.argv[2:])
