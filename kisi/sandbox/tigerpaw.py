"""A simulated Tigerpaw: the REST reads and the one SOAP write that billing needs.

The reads are in `kisi.sandbox.tigerpaw_rest` and `kisi.sandbox.tigerpaw_search`, the write in
`kisi.sandbox.tigerpaw_soap`. The twists known here, on `POST /api/rmm/tsiWS.asmx`:

* `replace=True`: the submit replaces all charges of the agreement;
* `refuse="text"`: the result says `Success: false`; `fault="text"`: a SOAP fault;
* `ignore=True`: it says `Success: true` and does nothing; `double=True`: it creates twice.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

from kisi.sandbox import configuration
from kisi.sandbox.configuration import Part, literal, table
from kisi.sandbox.exchange import Exchange
from kisi.sandbox.faults import Faults, method_and_path
from kisi.sandbox.http import Certificate, Logged, Server
from kisi.sandbox.tigerpaw_records import Account, Agreement, Charge, Item
from kisi.sandbox.tigerpaw_rest import read
from kisi.sandbox.tigerpaw_soap import submit

__all__ = [
    "SOAP_PATH",
    "Account",
    "Agreement",
    "Charge",
    "Item",
    "Tigerpaw",
    "company_row",
    "product_row",
]

SOAP_PATH = "/api/rmm/tsiWS.asmx"


class Tigerpaw:
    """A simulated Tigerpaw and comfortable ways to fill it.

    Args:
        now: The clock of the server; an aware datetime. Default: the real one.

    Attributes:
        external_product: The External Product that the SOAP user is bound to.
        accounts: By number.
        agreements: By number.
        items: The price book by item id.
        lines: Every charge by id, in the order of creation.
        keys: The public and private key of the rep.
        soap_login: User and password of the SOAP service.
        replace: A submit replaces all charges of its agreement, as if twisted so for ever.
        soft_errors: Missing records are told with status 200 and `Success: false`.
        first_row: The number of a search's first row.
        page_cap: Records of a page, and charges of an agreement's list, that get through at most.
        submits: How many submits were carried out.
        violations: What clients did that the interface forbids, in words.
    """

    def __init__(self, now: Callable[[], datetime] | None = None) -> None:
        self.now = now or _utc_now
        self.lock = threading.RLock()
        self.external_product = "Kaspersky"
        self.accounts: dict[int, Account] = {}
        self.agreements: dict[int, Agreement] = {}
        self.items: dict[str, Item] = {}
        self.lines: dict[int, Charge] = {}
        self.keys = ("11111111-2222-3333-4444-555555555555", "66666666-7777-8888-9999-000000000000")
        self.soap_login = ("kisi", "sandbox-soap-password")
        self.replace = False
        self.soft_errors = False
        self.first_row = 1
        self.page_cap = 10_000
        self.submits = 0
        self.violations: list[str] = []
        self._charges_made = 0

    # --- filling it -----------------------------------------------------------------------------

    def account(self, name: str, *, cross_referenced: bool = True) -> Account:
        """Add an account, by default with the cross reference that billing needs."""
        products = ["Backup Vendor"] + [self.external_product] * cross_referenced
        account = Account(500 + len(self.accounts), name, products)
        self.accounts[account.number] = account
        return account

    def agreement(
        self, account: Account, *, starts: date | None = None, ends: date | None = None
    ) -> Agreement:
        """Add an agreement; by default it began a year ago and has no end."""
        start = starts or self.today - timedelta(days=365)
        agreement = Agreement(7001 + len(self.agreements), account, "Managed Services", start, ends)
        self.agreements[agreement.number] = agreement
        return agreement

    def item(
        self, item_id: str, price: float = 3.0, *, description: str = "", inactive: bool = False
    ) -> Item:
        """Add a price book item."""
        item = Item(item_id, 9001 + len(self.items), description or item_id, price, inactive)
        self.items[item_id] = item
        return item

    def charge(
        self,
        agreement: Agreement | int,
        item: Item | str,
        quantity: int,
        *,
        price: float | None = None,
        description: str = "",
        one_time: bool = False,
        source: str = "Manual",
    ) -> Charge:
        """Add a charge, as a person or another vendor does."""
        item_id = item if isinstance(item, str) else item.id
        known = self.items.get(item_id)
        self._charges_made += 1
        charge = Charge(
            id=30000 + self._charges_made,
            agreement=agreement if isinstance(agreement, int) else agreement.number,
            item=item_id,
            quantity=quantity,
            price=(known.price if known else 0.0) if price is None else price,
            description=description or (known.description if known else item_id),
            one_time=one_time,
            source=source,
        )
        self.lines[charge.id] = charge
        return charge

    def charges(self, agreement: Agreement | int) -> list[Charge]:
        """The charges of an agreement, by id."""
        number = agreement if isinstance(agreement, int) else agreement.number
        return [charge for charge in self.lines.values() if charge.agreement == number]

    @property
    def today(self) -> date:
        """The day it is, UTC."""
        return self.now().astimezone(UTC).date()

    # --- serving it -----------------------------------------------------------------------------

    def serve(
        self,
        *,
        tls: Certificate | None = None,
        port: int = 0,
        faults: Faults | None = None,
        log: list[Logged] | None = None,
    ) -> Server:
        """A server for it, not started yet; plain HTTP unless it gets a certificate."""
        struck = (faults or Faults()).around(method_and_path)
        return Server(
            "tigerpaw", self.handle, tls=tls, port=port, now=self.now, log=log, intercept=struck
        )

    def part(self, server: Server, *, write: str = "soap", mapping: str = "") -> Part:
        """What `Sandbox.add` takes: the section `[psa.tp]` and its secrets.

        Args:
            server: What `serve` made.
            write: `soap` (with a template that counts as proven) or `report`.
            mapping: Rows of `mapping.toml`, for example of `company_row`.
        """
        config = f"""\
[psa.tp]                              # Tigerpaw; plain http is allowed on loopback alone
kind = "tigerpaw"
url = "{server.url}"
public_key = "file:secrets/tp-public-key"
private_key = "file:secrets/tp-private-key"
soap_user = "file:secrets/tp-soap-user"
soap_password = "file:secrets/tp-soap-password"
external_product = {literal(self.external_product)}
write = {literal(write)}
soap_template_verified = {literal(write == "soap")}
"""
        names = ("public-key", "private-key", "soap-user", "soap-password")
        values = (*self.keys, *self.soap_login)
        secrets = {f"tp-{name}": value for name, value in zip(names, values, strict=True)}
        return Part("tigerpaw", server, config, secrets, mapping=mapping)

    def handle(self, exchange: Exchange) -> None:
        """Answer one request."""
        with self.lock:
            if exchange.path == SOAP_PATH:
                submit(self, exchange)
            else:
                read(self, exchange)


def product_row(application: str, **products: Item) -> str:
    """A row of `mapping.toml`: an application that is billed by `all=`, or by category."""
    ids = {category: item.id for category, item in products.items()}
    return table("[[product]]", {"application": application, "psa": "tp", **ids})


def company_row(
    name: str,
    tenants: Sequence[str],
    agreement: Agreement,
    exceptions: Iterable[Mapping[str, str | int | bool]] = (),
) -> str:
    """A row of `mapping.toml`: a client that is billed on an agreement of Tigerpaw."""
    return configuration.company_row(
        name,
        tenants,
        psa="tp",
        company=agreement.account.number,
        agreement=agreement.number,
        exceptions=exceptions,
    )


def _utc_now() -> datetime:
    return datetime.now(UTC)
