"""How many? Readings and rules in, quantities and evidence out. Pure.

`Matcher` knows which application a key belongs to, `count_tenant` counts one complete tenant, and
`combine` adds up a client's tenants, and `moved` compares them with an earlier day.
"""

from kisi.usage.client import ClientUsage, combine, without_evidence
from kisi.usage.count import Undecided, conservation, count_tenant
from kisi.usage.matcher import Matcher
from kisi.usage.moves import moved
from kisi.usage.rows import category_of, licensed_users
from kisi.usage.terms import Terms

__all__ = [
    "ClientUsage",
    "Matcher",
    "Terms",
    "Undecided",
    "category_of",
    "combine",
    "conservation",
    "count_tenant",
    "licensed_users",
    "moved",
    "without_evidence",
]
