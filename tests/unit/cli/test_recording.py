"""What stays of an answer, and what has a stand-in."""

from __future__ import annotations

import json

import pytest

from kisi.cli.recording import Recording
from kisi.transport import Answer

LABEL = "ConnectWise (psa.contoso)"


def written(tmp_path, body, request="GET /finance/agreements", own=(), **more):
    """The one answer of a recording."""
    recording = Recording(own)
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    recording.keep(
        LABEL, request, Answer(200, {"Content-Type": "application/json", **more}, content)
    )
    (file,) = recording.write(tmp_path)
    assert file.name == "connectwise-1.json"
    (answer,) = json.loads(file.read_text(encoding="utf-8"))["answers"]
    return answer


def test_values_that_identify_nobody_stay(tmp_path):
    body = {
        "KLLIC_KEY_TYPE": 6,
        "KLLIC_LIC_COUNT": {"type": "long", "value": 1200},
        "KLLIC_PROD_NAME": "Kaspersky Endpoint Security for Business - Advanced",
        "KLHST_WKS_OS_NAME": "Microsoft Windows Server 2022",
        "quantity": 4.5,
        "agreementStatus": "Active",
        "cancelledFlag": False,
        "endDate": None,
        "startDate": "2026-11-01T00:00:00Z",
        "notes": "",
    }
    assert written(tmp_path, body)["body"] == body


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", "Active"),
        ("name", "2026-11-01 Contoso"),
        ("KLLIC_PROD_NAME", "Kaspersky for Contoso"),
        ("KLHST_WKS_OS_NAME", "Windows Contoso"),
        ("type", "Contoso"),
        ("id", 7),
        ("unitPrice", 7.5),
        ("site", "https://contoso.example"),
    ],
)
def test_every_other_text_and_number_has_a_stand_in(tmp_path, key, value):
    (shown,) = written(tmp_path, {key: value})["body"].values()
    assert type(shown) is type(value)
    assert str(9_000_001) in str(shown)


def test_an_id_has_one_stand_in_as_number_text_and_address(tmp_path):
    guid = "4F0C1D8A-2f57-4a3f-9f55-0d6f2a1c7e11"
    answer = written(
        tmp_path,
        [{"id": 1042, "ref": "1042"}, [guid, guid.lower()]],
        "GET /finance/agreements/1042",
    )
    assert answer["request"] == "GET /finance/agreements/name-9000001"
    assert answer["body"][0] == {"id": 9000001, "ref": "9000001"}
    assert answer["body"][1] == ["00000000-0000-0000-0000-000009000002"] * 2


def test_names_are_replaced_where_they_are_keys_and_steps_too(tmp_path):
    body = {"Contoso_Ltd": {"title": "contoso"}, "acme": 1, "two words": True, "name": None}
    answer = written(tmp_path, body, "GET /login/acme/Contoso", own=["acme"])
    assert not {"Contoso_Ltd", "acme", "two words"} & answer["body"].keys()
    assert "name" in answer["body"]
    assert "acme" not in answer["request"]
    assert "Contoso" not in answer["request"]


def test_lists_are_cut_pages_are_sizes_and_a_kind_of_request_is_kept_three_times(tmp_path):
    assert len(written(tmp_path, [True] * 50)["body"]) == 4
    assert written(tmp_path, b"<html>Contoso</html>")["body"] is None
    recording = Recording(())
    for number in range(9):
        recording.keep(LABEL, f"GET /agreements/{number}", Answer(200, {}, b"{}"))
        recording.keep("ConnectWise (psa.other)", "GET /x", Answer(200, {}, b"{}"))
    files = recording.write(tmp_path)
    assert [file.name for file in files] == ["connectwise-1.json", "connectwise-2.json"]
    assert [len(json.loads(file.read_bytes())["answers"]) for file in files] == [3, 3]
