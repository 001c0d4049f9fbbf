"""What `kisi check --record` writes: the systems' answers without anything that tells whose.

Only the shape of an answer is kept: its keys, true and false, dates, numbers and words that a
vendor defines (`_NUMBERS`, `_WORDS`). Every other text and number has a stand-in, the same one
wherever it comes again, so that ids still lead from one answer to the other.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from kisi.cli.output import result
from kisi.errors import BadAnswer
from kisi.transport import Answer

_ENTRIES = 3
"""Of a list, so many are written; the number of the others stands behind them."""
_ANSWERS = 3
"""To one kind of request, so many."""
_DATE = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)?)?")
_GUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_FIRST = 9_000_001
"""The number in the first stand-in."""
_SHORT = 4
"""Originals of more letters are looked for inside of keys and addresses, too."""
_MEDIA = re.compile(r"[a-z]{1,20}/[a-z0-9.+-]{1,60}")
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,60}")
_STEP = re.compile(r"[A-Za-z][A-Za-z0-9_.]{0,60}|\d\.\d")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NUMBERS = _words("""
    KLLIC_KEY_TYPE KLLIC_LIC_COUNT KLLIC_NHOSTS_ASCURRENT KLLIC_SUBSCRINFO_ENDDATETYPE
    KLLIC_SUBSCRINFO_GRACETERM KLLIC_SUBSCRINFO_STATE KLHST_WKS_CTYPE code subcode
    quantity lessIncluded Quantity units status Status pageSize PageSize count requestCount
    """)
"""Keys whose numbers are counts or a vendor's own codes, and identify nobody."""
_KINDS = _words("params paParams long int datetime date binary double float string bool")
"""Types of values in Security Center's answers, where they stand under `type`."""
_WORDS = _words("""
    Kaspersky Endpoint Security for Business Advanced Select Total EDR Optimum Expert Foundations
    Next Cloud Plus Pro Standard Server Servers Windows Microsoft Linux Mac Mail Virtualization
    Hybrid Detection and Response Managed Enterprise Home Datacenter Ubuntu Debian Android iOS macOS
    Active Inactive Cancelled Expired Pending Service Monthly - 7 8 8.1 10 11 2012 2016 2019 2022
    2025 R2 LTS
    """)
_WORDY = _words("""
    KLLIC_PROD_NAME KLHST_WKS_OS_NAME KLLICSRV_PRODUCT agreementStatus additionStatus
    """)
"""Keys under which a text stays if it has no word but `_WORDS`."""


class Recording:
    """Keeps answers, and writes them without what identifies somebody.

    `own` are texts of this installation that may stand in an address, such as the PSA's company.
    """

    def __init__(self, own: Iterable[str]) -> None:
        self._answers: defaultdict[str, list[tuple[str, Answer]]] = defaultdict(list)
        self._seen: Counter[tuple[str, str]] = Counter()
        self._numbers: dict[str, int] = {}
        self._originals = {text.casefold() for text in own if len(text) > 1}

    def keep(self, label: str, request: str, answer: Answer) -> None:
        """An answer of the system that messages call `label`, such as `ConnectWise (psa.cw)`."""
        kind = label, re.sub("[0-9]+", "#", request)
        self._seen[kind] += 1
        if self._seen[kind] <= _ANSWERS:
            self._answers[label].append((request, answer))

    def write(self, folder: Path) -> tuple[Path, ...]:
        """Writes a file for each system into a folder that is there, and returns their paths.

        A file is called by the system's kind and a number: its name here could tell whose it is.
        """
        read = {
            label: [(request, answer, _body(answer)) for request, answer in answers]
            for label, answers in sorted(self._answers.items())
        }
        for answers in read.values():
            for *_, body in answers:
                self._originals |= {text.casefold() for text in _replaced(body)}
        files: list[Path] = []
        for label, answers in read.items():
            system = "-".join(label.partition(" (")[0].casefold().split())
            number = 1 + sum(file.name.startswith(f"{system}-") for file in files)
            shown = {"answers": [self._answer(*one) for one in answers]}
            files.append(folder / f"{system}-{number}.json")
            result(json.dumps(shown, indent=1, ensure_ascii=False), files[-1])
        return tuple(files)

    def _answer(self, request: str, answer: Answer, body: Any) -> dict[str, Any]:  # noqa: ANN401
        method, _, path = request.partition(" ")
        steps = (self._name(step, _STEP) for step in path.split("/") if step)
        kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().casefold()
        return {
            "request": f"{method} /{'/'.join(steps)}",
            "status": answer.status,
            "content_type": self._name(kind, _MEDIA) if kind else "",
            "bytes": len(answer.body),
            "body": self._without_names(body, ""),
        }

    def _without_names(self, value: Any, key: str) -> Any:  # noqa: ANN401  any JSON value
        if isinstance(value, dict):
            return {
                self._name(name, _KEY): self._without_names(each, key if name == "value" else name)
                for name, each in value.items()
            }
        if isinstance(value, list):
            more = len(value) - _ENTRIES
            shown = [self._without_names(each, key) for each in value[:_ENTRIES]]
            return [*shown, f"... and {more} more"] if more > 0 else shown
        if _stays(value, key):
            return value
        number = self._number(str(value))
        if not isinstance(value, str):
            return type(value)(number)
        if _GUID.fullmatch(value):
            return f"00000000-0000-0000-0000-{number:012}"
        return str(number) if value.isdigit() else f"text-{number}"

    def _name(self, name: str, form: re.Pattern[str]) -> str:
        """A key, or a step of an address, if it has the `form` of a vendor's and names nobody."""
        folded = name.casefold()
        own = any(x in folded if len(x) > _SHORT else x == folded for x in self._originals)
        return name if form.fullmatch(name) and not own else f"name-{self._number(name)}"

    def _number(self, original: str) -> int:
        return self._numbers.setdefault(original.casefold(), _FIRST + len(self._numbers))


def _body(answer: Answer) -> Any:  # noqa: ANN401  any JSON value
    try:
        answer.json()  # which has limits
        return json.loads(answer.body)  # as it was sent
    except BadAnswer:
        return None  # a page, or nothing: its size tells enough


def _stays(value: Any, key: str) -> bool:  # noqa: ANN401  any JSON value
    """Whether a value identifies nobody."""
    if value is None or isinstance(value, bool):
        return True
    if not isinstance(value, str):
        return key in _NUMBERS
    if key == "type":
        return value in _KINDS
    words = key in _WORDY and _WORDS.issuperset(value.split())
    return not value or words or _DATE.fullmatch(value) is not None


def _replaced(value: Any, key: str = "") -> Iterator[str]:  # noqa: ANN401  any JSON value
    """Every text in a JSON value that is not to be written."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _replaced(each, key if name == "value" else name)
    elif isinstance(value, list):
        for each in value:
            yield from _replaced(each, key)
    elif isinstance(value, str) and not _stays(value, key):
        yield value
