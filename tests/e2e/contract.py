"""The contract of `preview --json` and `sync --json`, checked on every document that tests see."""

from __future__ import annotations

from typing import Any

_CATEGORIES = {"windows_workstations", "windows_servers", "non_windows"}
_STATUSES = {"ready", "held", "failed", "off"}
_ACTIONS = {"create", "update", "none"}
_OUTCOMES = {"applied", "unchanged", "held", "failed", "unknown"}
_SUMMARY = ("create", "update", "unchanged", "held", "failed", "applied")

Json = dict[str, Any]


def check_plan(document: Json) -> None:
    """A plan as `preview`, `sync` and, inside its own document, `status` write it."""
    assert document["format_version"] == 1
    _text(document, "plan_id")
    _whole(document, "exit_code")
    for company in document["companies"]:
        _company(company)
    _unmapped(document["unmapped"])
    _summary(document)


def _company(company: Json) -> None:
    for key in ("name", "psa", "company", "agreement", "plan_id"):
        _text(company, key)
    assert company["status"] in _STATUSES
    assert company["reason"] is None or isinstance(company["reason"], str)
    for line in company["lines"]:
        _line(line)
    held = [line for line in company["lines"] if line["hold"]]
    assert (company["status"] == "held") is bool(held)
    if company["status"] in {"held", "failed"}:
        _text(company, "reason")
    if company["status"] in {"failed", "off"}:
        assert not [line for line in company["lines"] if line["action"] != "none"]


def _line(line: Json) -> None:
    for key in ("application", "category", "product"):
        _text(line, key)
    parts = line["category"].split("+")
    assert parts == ["all"] or set(parts) <= _CATEGORIES
    assert line["line_id"] is None or isinstance(line["line_id"], str)
    assert line["action"] in _ACTIONS
    assert isinstance(line["after"], int)
    assert line["before"] is None or _is_number(line["before"])
    assert line["unit_price"] is None or _is_number(line["unit_price"])
    assert isinstance(line["adopt"], bool)
    assert line["outcome"] in {None, *_OUTCOMES}
    if line["action"] == "create":
        assert line["before"] is None
        assert (line["line_id"] is None) or line["outcome"] in {"applied", "unknown"}
    else:
        _text(line, "line_id")
        assert (line["before"] == line["after"]) is (line["action"] == "none")
    if line["hold"] is not None:
        for key in ("guard", "reason", "remedy"):
            _text(line["hold"], key)
        doubled = {"applied", "unknown"}  # `ambiguous` is seen before a write, or only after it
        later = doubled if line["hold"]["guard"] == "ambiguous" else set()
        assert line["outcome"] in {None, "held", *later}


def _unmapped(unmapped: Json) -> None:
    for tenant in unmapped["tenants"]:
        for key in ("source", "tenant", "name"):
            _text(tenant, key)
    for use in unmapped["applications"]:
        _text(use, "company")
        _text(use, "application")
        _whole(use, "quantity")
    assert unmapped["accounts"] == []


def _summary(document: Json) -> None:
    """Each line is in exactly one of create, update, unchanged, held."""
    summary = document["summary"]
    for key in _SUMMARY:
        _whole(summary, key)
    lines = [line for company in document["companies"] for line in company["lines"]]
    free = [line["action"] for line in lines if line["hold"] is None]
    assert summary["create"] == free.count("create")
    assert summary["update"] == free.count("update")
    assert summary["unchanged"] == free.count("none")
    assert summary["held"] == len(lines) - len(free)
    outcomes = [line["outcome"] for line in lines]
    failed = sum(company["status"] == "failed" for company in document["companies"])
    assert summary["failed"] == failed + outcomes.count("failed") + outcomes.count("unknown")
    assert summary["applied"] == outcomes.count("applied")


def _text(holder: Json, key: str) -> None:
    assert isinstance(holder[key], str), key
    assert holder[key], key


def _whole(holder: Json, key: str) -> None:
    assert type(holder[key]) is int, key


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
