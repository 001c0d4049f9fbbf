"""What a count leaves out although a setting would count it, and what is odd about it, in words.

What never counts by rule (trial, reserve) is ordinary: `kisi explain` lists it, and no note says so
every day. A key in use that expired or was cancelled is said: it was billed before. One that is
paused is said by the outlook.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta

from kisi.counting.rules import CANCELLED, EXPIRED, CountingContext, Reason, judge_key, name_before
from kisi.model import Device, Evidence, Key, KeyEvidence, KeyRow

SAME_ID = (
    "If these are two machines (one may be made from an image of the other), give one an id of its "
    "own: `klmover -dupfix` on it."
)
_NAME_AT_MOST = 150  # characters: names are the server's, and a sentence has to stay one


def some(names: Collection[str], most: int = 5, longest: int = _NAME_AT_MOST) -> str:
    """The first of `names`, each cut to a sane length, and how many more there are."""
    shown = ", ".join(_cut(name, longest) for name in list(names)[:most])
    more = len(names) - most
    return f"{shown} and {more} more" if more > 0 else shown


def key_notes(keys: Iterable[Key], context: CountingContext) -> Iterable[str]:
    """Keys in use that contradict themselves, have ended, or that a setting would count."""
    kinds: dict[tuple[str, tuple[str, ...]], list[str]] = defaultdict(list)
    for key in keys:
        ruling = judge_key(key, context.rules, context.now)
        told = ruling.warning or ruling.settings or ruling.reason in (EXPIRED, CANCELLED)
        if told and key.used != 0 and not context.never_bills(key):
            used = "in use" if key.used is None else f"{key.used} in use"
            why = ruling.warning or ruling.reason
            kinds[why, ruling.settings].append(f"{key.serial} ({key.name}, {used})")
    for (reason, settings), found in kinds.items():
        are = _number(found, "key in use is", "keys in use are")
        yield f"{are} not counted ({reason}): {some(found)}; {_would_count(settings, found)}"


def figure_notes(keys: Iterable[KeyEvidence]) -> Iterable[str]:
    """Keys whose own figure is greater than the list of their uses, as one sentence.

    It is no failure: what the figure counts (products or devices, of which servers) differs by
    version, and is not known for certain.
    """
    short = [
        f"{_cut(key.serial)} ({_cut(key.name)}: {key.used} in use by the server's own figure, "
        f"{key.listed} in its list)"
        for key in keys
        if key.used is not None and key.listed is not None and key.used > key.listed
    ]
    if short:
        have, shown = _number(short, "key has", "keys have"), some(short, longest=3 * _NAME_AT_MOST)
        yield (
            f"{have} fewer uses in the list than by the server's own figure: {shown}; the "
            "account may not see all devices, or the figure counts more than this server's devices "
            "(two products on one, or those of other servers)."
        )


def name_notes(rows: Iterable[KeyRow]) -> Iterable[str]:
    """Devices that the uses of keys call differently: each is one here, and perhaps two."""
    names: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row.name:
            names[row.device].add(row.name)
    if several := [" and ".join(sorted(found)) for found in names.values() if len(found) > 1]:
        have = _number(several, "device has", "devices have")
        yield f"{have} several names under one id, and counts once: {some(several)}. {SAME_ID}"


def device_notes(
    evidence: Iterable[Evidence], devices: Mapping[str, Device], context: CountingContext
) -> Iterable[str]:
    """Devices whose use says too little, those of other servers, and those not seen for long."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for item in evidence:
        found["" if item.counted else item.reason][item.device] = item.name or item.device
    counted = found[""]
    for reason in (Reason.PENDING, Reason.UNSAID, Reason.EXPIRED_ON_DEVICE):
        if out := found[reason]:
            would = _would_count(("pending",) if reason is Reason.PENDING else (), out)
            are = _number(out, "device is", "devices are")
            yield f"{are} not counted ({reason}): {some(out.values())}; {would}"
    if foreign := found[Reason.FOREIGN_DEVICE]:
        are = _number(foreign, "device that uses its keys is", "devices that use its keys are")
        yield (
            f"{are} not among its own devices, not counted, and may be another client's: "
            f"{some(foreign.values())}."
        )
    again: dict[str, set[str]] = defaultdict(set)
    for name in counted.values():
        again[name_before(name)].add(name)
    if twice := [" and ".join(sorted(names)) for names in again.values() if len(names) > 1]:
        have = _number(twice, "device has", "devices have")
        yield (
            f"{have} several records, and each is counted: {some(twice)}. If it was installed "
            "again, delete the old record in Security Center."
        )
    if unseen := _unseen(counted, devices, context):
        were = _number(unseen, "counted device was", "counted devices were")
        yield f"{were} not seen for more than {context.rules.unseen_days} days: {some(unseen)}."


def _unseen(
    counted: Mapping[str, str], devices: Mapping[str, Device], context: CountingContext
) -> list[str]:
    """Names of counted devices that were last seen before `unseen_days`, the oldest first."""
    days = timedelta(days=context.rules.unseen_days)
    seen = ((devices[device].last_seen, name) for device, name in counted.items())
    found = [(at, name) for at, name in seen if days and at and at < context.now - days]
    return [name for _, name in sorted(found)]


def _would_count(settings: Collection[str], left_out: Collection[str]) -> str:
    it = "it" if len(left_out) == 1 else "them"
    if not settings:
        return f"no setting would count {it}."
    *most, last = (f"`{setting} = true`" for setting in settings)
    together = f"{', '.join(most)} and {last}" if most else last
    return f"{together} under [counting] would count {it}."


def _number(found: Collection[str], one: str, several: str) -> str:
    return f"1 {one}" if len(found) == 1 else f"{len(found)} {several}"


def _cut(name: str, longest: int = _NAME_AT_MOST) -> str:
    return name if len(name) <= longest else name[:longest] + "..."
