"""What decides a count besides the reading."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from kisi import licensing
from kisi.model import CountingRules, Key
from kisi.usage.matcher import Matcher


@dataclass(frozen=True, slots=True)
class Terms:
    """What a count is made by.

    Args:
        matcher: Knows the applications of the mapping.
        billed: Names of the applications that some product bills.
        rules: `[counting]`.
        now: The instant at which keys must be unexpired (aware, UTC).
    """

    matcher: Matcher
    billed: frozenset[str]
    rules: CountingRules
    now: datetime

    def selects(self, key: Key) -> bool:
        """Whether the devices that use `key` must be read from the source.

        They must if the key counts and its application is billed. For everything else the server's
        own figure is enough, except where it gives none.
        """
        if not licensing.judge_key(key, self.rules, self.now).counts:
            return False
        application = self.matcher.match(key.name)
        if application is None or application.name not in self.billed:
            wanted = application is None or application.bill
            return wanted and key.used is None
        return application.bill

    def never_bills(self, key: Key) -> bool:
        """Whether `key` is of an application with `bill = false`."""
        application = self.matcher.match(key.name)
        return application is not None and not application.bill
