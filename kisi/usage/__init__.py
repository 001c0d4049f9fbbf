"""How many? Readings and rules in, quantities and evidence out. Pure.

`Matcher` knows which application a key belongs to, `count_tenant` counts one complete tenant, and
`combine` adds up a client's tenants.
"""

from kisi.usage.client import ClientUsage, combine
from kisi.usage.count import Terms, Tie, category_of, conservation, count_tenant, licensed_users
from kisi.usage.matcher import Matcher

__all__ = [
    "ClientUsage",
    "Matcher",
    "Terms",
    "Tie",
    "category_of",
    "combine",
    "conservation",
    "count_tenant",
    "licensed_users",
]
