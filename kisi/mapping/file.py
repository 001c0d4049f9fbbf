"""`mapping.toml` as a file: read and checked, all problems at once; saved only if it would load.

People edit it too: it is written back whole, and only where nobody else has changed it.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from kisi.config import Config
from kisi.config.document import (
    MAX_BYTES,
    Document,
    decode,
    encode,
    parse_document,
    read_bytes,
    read_document,
)
from kisi.config.sentences import did_you_mean, listed, shorten, type_name
from kisi.config.settings import Day, Table, Text
from kisi.errors import ConfigError, StateError
from kisi.files import atomic_write
from kisi.mapping import rules
from kisi.mapping.changes import MappingEdit
from kisi.mapping.rules import UNTOUCHED, MappingTable, TableRow
from kisi.mapping.toml_edit import LARGEST_ID
from kisi.model import (
    Application,
    BillingMapping,
    Category,
    Company,
    IgnoredTenant,
    ProductRow,
    TenantRef,
    Unit,
    is_policy,
)

_NO_NUMBER = f"An id is a number from 1 to {LARGEST_ID}, or text."
_BLANK_LETTERS = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0" + "".join(map(chr, range(0xFE00, 0xFE10)))
)
"""What Unicode counts among the printable letters and marks, and no font draws."""


def _ident(value: object) -> str:
    if type(value) is not int and not isinstance(value, str):
        raise ValueError(f"An id is a whole number or text, not {type_name(value)}.")
    text = str(value)
    if not text or text != text.strip(" "):
        raise ValueError("An id must not be empty or have spaces around it.")
    for letter in text:
        if not letter.isprintable() or letter in _BLANK_LETTERS:
            raise ValueError(
                f"An id must not hold invisible characters, and this one holds U+{ord(letter):04X};"
                " write it again by hand, without what was copied along."
            )
    if type(value) is int and not 0 < value <= LARGEST_ID:
        raise ValueError(_NO_NUMBER)
    if text.isascii() and text.isdigit() and int(text.lstrip("0")[:20] or 0) > LARGEST_ID:
        raise ValueError(_NO_NUMBER)
    return text


Ident = Annotated[
    str,
    BeforeValidator(_ident),
    WithJsonSchema({"type": ["integer", "string"], "minimum": 1, "minLength": 1}),
]
"""An id as text; in the file it is a whole number or text."""
Texts = Annotated[tuple[Text, ...], Field(min_length=1)]


def _policy(text: str) -> str:
    if not is_policy(text):
        raise ValueError(
            'This must be "today", "peak", "average" or "day:N" with a day from 1 to 31.'
        )
    return text


CountPolicy = Annotated[
    str,
    AfterValidator(_policy),
    Field(json_schema_extra={"pattern": r"^(today|peak|average|day:([1-9]|[12]\d|3[01]))$"}),
]
"""Which number of an invoice period is billed; empty where it is not given."""


class ApplicationTable(Table):
    """`[[application]]`."""

    name: Text
    keys: Texts = ()
    unit: Unit = Unit.DEVICE
    bill: bool = True
    articles: Texts = ()


class ProductTable(Table):
    """`[[product]]` and `[[company.product]]`; `bill` is for the latter."""

    application: Text
    psa: Text | None = None
    all: Ident | None = None
    windows_workstations: Ident | None = None
    windows_servers: Ident | None = None
    non_windows: Ident | None = None
    bill: bool = True
    count: CountPolicy = ""


class CompanyTable(Table):
    """`[[company]]`; its exceptions, `product`, are rows of their own."""

    name: Text
    tenants: Texts
    psa: Text | None = None
    company: Ident
    agreement: Ident
    alongside: Annotated[tuple[Ident, ...], Field(min_length=1)] = ()
    purchased_as: Texts = ()
    billing: bool = True
    until: Day = None
    product: Any = None


class TenantTable(Table):
    """`[[tenant]]`: one that is never billed."""

    id: Text
    bill: bool = True
    note: str = ""


Known = Mapping[str, tuple[TableRow, Application]]
"""The applications by name, with their rows."""


class ConfigNames(NamedTuple):
    """The names in kisi.toml that rows may name. Where it has one PSA, they may leave out `psa`."""

    sources: Collection[str]
    psas: Collection[str]
    global_sources: Collection[str] = ()
    """Those of the sources whose tenant ids are the same in each of them."""

    @classmethod
    def of(cls, config: Config) -> Self:
        """Those of a kisi.toml, and of the other parts of its fleet."""
        return cls(config.source_names, config.psa_names, config.global_sources)

    def the_tenant(self, text: str) -> TenantRef:
        """A tenant as a person writes it; another form or an unknown source is a `ConfigError`."""
        source, colon, tenant = text.partition(":")
        if not colon or not tenant.strip():
            example = f"{next(iter(self.sources), 'hq')}:{shorten(text.strip(':'))}"
            problem = (
                f'"{shorten(text)}" is not a tenant: write "SOURCE:TENANT", such as "{example}".'
            )
        elif source not in self.sources:
            missing = f"There is no [sources.{shorten(source)}] in kisi.toml"
            problem = f'"{shorten(text)}": {missing}; {did_you_mean(source, self.sources)}'
        else:
            return TenantRef(source, tenant)
        remedy = f"{UNTOUCHED} `kisi map list` shows the tenants as they are written here."
        raise ConfigError(problem, remedy=remedy)

    def the_psa(self, name: str | None) -> str:
        """The PSA of this name; the only one where none is named. Else a `ConfigError`."""
        psas = self.psas
        if name and name in psas:
            return name
        if name:
            problem = f"There is no [psa.{shorten(name)}] in kisi.toml; {did_you_mean(name, psas)}"
        elif len(psas) == 1:
            return next(iter(psas))
        elif psas:
            problem = f"kisi.toml has several PSAs ({listed(psas)}), and none is named."
        else:
            problem = "kisi.toml has no [psa.NAME] that this could be billed in."
        raise ConfigError(problem, remedy=f"{UNTOUCHED} Name one that kisi.toml has.")


def load_mapping(path: Path, names: ConfigNames) -> BillingMapping:
    """Reads `mapping.toml`; a file that does not exist maps nothing.

    A `ConfigError` has all problems, each as
    `mapping.toml: [[company]] "Contoso" (row 3, line 41) agreement: Sentence.`
    """
    if not os.path.lexists(path):
        return BillingMapping()
    remedy = "Mend the link, or remove it to start without one."
    return read_mapping(read_document(path, if_missing=remedy), names)


def read_mapping(document: Document, names: ConfigNames) -> BillingMapping:
    """Turns a parsed mapping.toml into the model, or raises as `load_mapping`."""
    table = MappingTable(document)
    applications = []
    for row in table.rows("application"):
        read = row.read(ApplicationTable)
        applications.append((row, Application(**read.model_dump())))
    known = {each.name: (row, each) for row, each in applications if each.name}
    products = [(row, _product(row, known, names)) for row in table.rows("product")]
    companies = [(row, _company(table, row, known, names)) for row in table.rows("company")]
    ignored = []
    for row in table.rows("tenant"):
        never = row.read(TenantTable)
        if never.bill and isinstance(row.data.get("bill", True), bool):
            row.problem(
                "Write bill = false: a [[tenant]] is one that is never billed; whoever is billed "
                "is a [[company]].",
                "bill",
            )
        ref = row.noted("id", partial(names.the_tenant, never.id)) if never.id else None
        ignored.append((row, IgnoredTenant(ref or TenantRef("", ""), never.note)))
    rules.check(applications, products, companies, ignored, names.global_sources)
    if table.problems:
        raise ConfigError(
            table.problems,
            remedy=f"Correct {document.path}, then run `kisi check`. Nothing was sent.",
        )
    return BillingMapping(
        tuple(application for _, application in applications),
        tuple(product for _, product in products),
        tuple(company for _, company in companies),
        frozenset(names.global_sources),
        tuple(tenant for _, tenant in ignored),
    )


def _product(
    row: TableRow, known: Known, names: ConfigNames, owner: str | None = None
) -> ProductRow:
    """A general product row, or (with the PSA of its `owner`) a client's exception."""
    read = row.read(ProductTable)
    if owner is None:
        psa = _psa(row, read.psa, names)
        if "bill" in row.data:
            row.problem(
                "This belongs in [[application]] (never billed), or in a client's "
                "[[company.product]] (managed by hand there).",
                "bill",
            )
    else:
        psa = owner
        if row.data.get("psa", psa) != psa:
            row.problem("An exception is for its client's own PSA; leave this key out.", "psa")
    if read.application and read.application not in known:
        hint = did_you_mean(read.application, known)
        row.problem(f"There is no [[application]] of this name; {hint}", "application")
    # an id that is wrong is a problem of its own, and not a product that is missing
    products = {each: getattr(read, each) or "" for each in Category if each in row.data}
    result = ProductRow(read.application, psa, products, owner is None or read.bill, read.count)
    rules.one_product_row(row, result, known.get(read.application))
    return result


def _company(table: MappingTable, row: TableRow, known: Known, names: ConfigNames) -> Company:
    read = row.read(CompanyTable)
    psa = _psa(row, read.psa, names)
    exceptions = [
        (inner, _product(inner, known, names, psa)) for inner in table.rows("product", row)
    ]
    rules.once(
        [(inner, (exception.application,)) for inner, exception in exceptions],
        "application",
        "{first} is an exception for this application already; keep one of the two.",
    )
    tenants = (row.noted("tenants", partial(names.the_tenant, text)) for text in read.tenants)
    company = Company(
        **read.model_dump(exclude={"tenants", "psa", "product"}),
        tenants=tuple(ref or TenantRef("", "") for ref in tenants),
        psa=psa,
        exceptions=tuple(exception for _, exception in exceptions),
    )
    rules.one_company_row(row, company)
    return company


def _psa(row: TableRow, name: str | None, names: ConfigNames) -> str:
    of_a_wrong_type = name is None and "psa" in row.data  # which was noted
    found = None if of_a_wrong_type else row.noted("psa", partial(names.the_psa, name))
    return found or ""


class MappingEditor:
    """A mapping file, what it means, and the one way to save a change of it.

    A missing file maps nothing; a link is followed and stays a link. All problems of a file that is
    wrong as it is, or cannot be read, are a `ConfigError`.
    """

    def __init__(self, path: Path, names: ConfigNames) -> None:
        self.path = path
        self.names = names
        self._target = Path(os.path.realpath(path))
        self._content = read_bytes(self._target)
        self.text = decode(path, self._content or b"")
        self.mapping = self._mapping_of(self.text)

    def edit(self) -> MappingEdit:
        """The rows of the file as it was read or saved last, to be changed."""
        return MappingEdit(self.text, self.mapping, self.names)

    def check(self, text: str) -> BillingMapping:
        """What `text` would mean as the file; if it is wrong, a `ConfigError` names lines of it."""
        try:
            return self._mapping_of(text)
        except ConfigError as error:
            raise ConfigError(
                ["The change was not made, because then:", *error.problems],
                remedy=f"{UNTOUCHED} Change what the sentences above name, then do it again.",
            ) from error

    def save(self, text: str, sleep: Callable[[float], None] = time.sleep) -> bool:
        """Checks `text` and writes it, whole or not at all; the text before is kept as `.bak`.

        False: it is the same text, and nothing was written. `sleep` waits between attempts while
        another program holds the file (Windows). A `ConfigError` if somebody else changed the file
        meanwhile, too; a `StateError` if it cannot be written.
        """
        mapping, content = self.check(text), encode(text)
        if content == (self._content or b""):
            return False
        self._refuse_foreign_change()
        try:
            mode = self._mode()
            if self._content is not None:
                backup = self._target.with_name(f"{self._target.name}.bak")
                atomic_write(backup, self._content, mode=mode, sleep=sleep)
            self._refuse_foreign_change()
            atomic_write(self._target, content, mode=mode, sleep=sleep)
        except OSError as error:
            raise StateError(
                f"{self.path} could not be written ({error.strerror or type(error).__name__}). "
                "It is as it was before.",
                remedy="See whether the disk is full, whether the file and its folder may be "
                "written, and whether another program holds it open. Then do it again.",
            ) from error
        self.text, self.mapping, self._content = text, mapping, content
        return True

    def _mapping_of(self, text: str) -> BillingMapping:
        if len(encode(text)) > MAX_BYTES:
            raise ConfigError(
                f"{self.path.name}: The file would be larger than {MAX_BYTES // 2**20} MiB, which "
                "kisi does not read."
            )
        return read_mapping(parse_document(self.path, text), self.names)

    def _refuse_foreign_change(self) -> None:
        if (now := read_bytes(self._target)) == self._content:
            return
        what = "vanished" if now is None else "appeared" if self._content is None else "changed"
        raise ConfigError(
            f"{self.path} {what} since kisi read it: someone else works on it. "
            "kisi left it alone, and this change was not made.",
            remedy="See what is there now, then do it again.",
        )

    def _mode(self) -> int | None:
        """The file's permissions; a file that nobody may write is not replaced either."""
        if self._content is None:
            return None
        mode = stat.S_IMODE(self._target.stat().st_mode)
        if not mode & 0o222 or not os.access(self._target, os.W_OK):
            raise PermissionError(None, "it is read-only")
        return mode
