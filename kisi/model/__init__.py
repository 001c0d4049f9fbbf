"""The nouns of kisi, as values: what sources report, what PSAs hold, what a plan says.

Pure data: standard library only, frozen, no behaviour beyond reading oneself. Instants are aware
`datetime`s in UTC, dates are days in the billing time zone, quantities that were counted are `int`,
quantities that a PSA holds are `Decimal` (ConnectWise stores a double, Tigerpaw an integer).
"""

from __future__ import annotations

from kisi.model.billing import (
    SPLIT,
    Application,
    BillingMapping,
    Category,
    Company,
    CountingRules,
    DeviceClass,
    GuardRules,
    ProductRow,
    TenantRef,
    Unit,
    categories_of,
    category_text,
)
from kisi.model.finding import (
    Finding,
    Level,
)
from kisi.model.globs import Glob
from kisi.model.identity import unmapped_tenants
from kisi.model.lines import (
    Agreement,
    AgreementRef,
    Line,
    NotBillable,
    WriteResult,
    WriteStatus,
)
from kisi.model.plan import (
    WITH,
    Action,
    CompanyPlan,
    Failure,
    Hold,
    LineSlot,
    Outcome,
    OwnedLine,
    Plan,
    PlannedLine,
    Pool,
    Status,
)
from kisi.model.reading import (
    Device,
    Key,
    KeyRow,
    Reading,
    ReportedQuantity,
    Tenant,
)
from kisi.model.usage import (
    ApplicationUsage,
    Evidence,
    KeyEvidence,
    TenantUsage,
    UnmappedUse,
)

__all__ = [
    "SPLIT",
    "WITH",
    "Action",
    "Agreement",
    "AgreementRef",
    "Application",
    "ApplicationUsage",
    "BillingMapping",
    "Category",
    "Company",
    "CompanyPlan",
    "CountingRules",
    "Device",
    "DeviceClass",
    "Evidence",
    "Failure",
    "Finding",
    "Glob",
    "GuardRules",
    "Hold",
    "Key",
    "KeyEvidence",
    "KeyRow",
    "Level",
    "Line",
    "LineSlot",
    "NotBillable",
    "Outcome",
    "OwnedLine",
    "Plan",
    "PlannedLine",
    "Pool",
    "ProductRow",
    "Reading",
    "ReportedQuantity",
    "Status",
    "Tenant",
    "TenantRef",
    "TenantUsage",
    "Unit",
    "UnmappedUse",
    "WriteResult",
    "WriteStatus",
    "categories_of",
    "category_text",
    "unmapped_tenants",
]
