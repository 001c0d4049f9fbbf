"""Short ways to make the nouns of kisi for tests."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from kisi.counting import CountingContext, Matcher
from kisi.model import (
    Agreement,
    AgreementRef,
    Application,
    BillingMapping,
    Category,
    Company,
    Device,
    Key,
    KeyRow,
    Line,
    OwnedLine,
    ProductRow,
    Reading,
    Tenant,
    TenantRef,
    Unit,
)

NOW = datetime(2026, 11, 21, 6, 0, tzinfo=UTC)
TODAY = date(2026, 11, 21)
LATER = NOW + timedelta(days=365)
EARLIER = NOW - timedelta(days=30)

KES = "Kaspersky Endpoint Security for Business - Advanced"
WINDOWS_11 = "Microsoft Windows 11"
SERVER_2022 = "Microsoft Windows Server 2022"


def key(serial="K1", name=KES, **more):
    return Key(serial, name, **{"key_type": 1, "limit_date": LATER, **more})


def subscription(serial="K1", name=KES, **more):
    values = {"key_type": 6, "subscription": True, "state": 0, "end_date_type": 1, **more}
    return Key(serial, name, **values)


def device(name, os_name=WINDOWS_11, ctype=0):
    return Device(name, name, os_name, ctype)


def row(device_id, serial="K1", **more):
    return KeyRow(serial, device_id, device_id, **more)


def tenant(name="Contoso", uid="VSRV-1", source="hq"):
    return Tenant(TenantRef(source, uid), name)


def reading(devices=(), rows=None, keys=None, of=None, **more):
    """A tenant in which, unless told otherwise, every device uses the one key actively."""
    devices = list(devices)
    rows = [row(item.id) for item in devices] if rows is None else rows
    return Reading(
        tenant=of or tenant(),
        at=NOW,
        keys=tuple([key()] if keys is None else keys),
        rows=tuple(rows),
        devices={item.id: item for item in devices},
        **more,
    )


def counting(*applications, billed=None, rules=None, now=NOW):
    from kisi.model import CountingRules

    applications = applications or (Application(KES),)
    names = {item.name for item in applications} if billed is None else billed
    return CountingContext(Matcher(applications), frozenset(names), rules or CountingRules(), now)


SPLIT_ROW = ProductRow(
    KES,
    "cw",
    {
        Category.WINDOWS_WORKSTATIONS: "1201",
        Category.WINDOWS_SERVERS: "1202",
        Category.NON_WINDOWS: "1203",
    },
)
ALL_ROW = ProductRow(KES, "cw", {Category.ALL: "1200"})
COMPANY = Company("Contoso", (TenantRef("hq", "VSRV-1"),), "cw", "250", "1042")
REF = AgreementRef("cw", "250", "1042")
AGREEMENT = Agreement(REF, name="Managed Security")


def mapping(*rows, applications=None, companies=(COMPANY,)):
    names = dict.fromkeys(item.application for item in rows)
    apps = applications or tuple(Application(name) for name in names)
    return BillingMapping(tuple(apps), tuple(rows), tuple(companies))


def line(product, quantity, line_id="301", **more):
    return Line(line_id, "1042", product, Decimal(str(quantity)), **more)


def fact(product, confirmed, line_id="301", **more):
    confirmed = Decimal(str(confirmed))
    values = {
        "psa": "cw",
        "company": "250",
        "agreement": "1042",
        "line_id": line_id,
        "product": product,
        "application": KES,
        "categories": (Category.ALL,),
        "name": "Contoso",
        "tenants": COMPANY.tenants,
        "confirmed": confirmed,
        "highest": confirmed,
        "lowest": confirmed,
        **more,
    }
    return OwnedLine(**values)


def users(name="KES Cloud Plus"):
    return Application(name, unit=Unit.USER)
