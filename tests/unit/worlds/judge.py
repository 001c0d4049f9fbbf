"""What must hold after every night, judged by what the PSAs hold.

The money is looked at as units that somebody pays for. Every line that kisi wrote bills devices:
those that it should have billed on the night on which it was written, or on which it was read and
was right. A line that bills no more than it should may as well bill any of today's, and one that
falls may bill what it billed already: no fall can bill too much. So the lines
bill too much exactly if there is no way to find a device for every unit, such that no device stands
for more units than it had uses: a device that has one application is one unit, whatever its
virtual server, application or category was on another day. A tenant of which only totals are known
counts like one device with that many uses. That is a flow, and it is worked out anew every night.

What a person did is not kisi's: a line whose number a person set is left out until kisi writes it
or it is right and fits; so is a line beside which a person let another one rise (`elsewhere`), one
that is managed by hand, and one on an agreement that was renewed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from kisi.model import Line
from tests.unit.worlds.world import Client, Content, Desired, LineId, Slot, World

MOST_WORDS = 20
"""So many devices of a line are named."""


class Broken(AssertionError):
    """A promise was not kept.

    Args:
        promise: `twice`, `quantity`, `lines`, `ends`, `reported` or `error`.
        message: What is wrong.
    """

    def __init__(self, promise: str, message: str) -> None:
        super().__init__(f"{promise}: {message}")
        self.promise = promise


_ONCE = " (once "

Known = tuple[str, str | None]
"""A device's id, and its tenant."""


@dataclass(frozen=True, slots=True)
class Tonight:
    """What there is to be billed.

    Args:
        desired: What every line should bill.
        uses: How many uses each device has in all.
        known: How each device is known.
        read: The tenants that a run that came to its end has read.
    """

    desired: Mapping[Slot, Desired]
    uses: Mapping[str, int]
    known: Mapping[str, Known]
    read: frozenset[str]


@dataclass(slots=True)
class Account:
    """What is known of a line of kisi's."""

    called: str
    """What the mapping called its application, when it was last right."""
    product: str
    tenants: frozenset[str]
    """Of its client, when it was last right."""
    may: Content = field(default_factory=dict)
    """What its units may stand for."""
    uses: Content = field(default_factory=dict)
    """How many uses each of these had in all, when the line was last right."""
    trusted: bool = True
    """False: its number is a person's business."""

    known: dict[str, set[Known]] = field(default_factory=dict)
    """How each of these was known then."""
    called_since: str = ""
    """What its application was called in a later run that was to raise it."""
    since: frozenset[str] = frozenset()
    """The same in a later run that was to raise it, or took it back; its units may stand for those."""

    def widen(self, content: Content, now: Tonight) -> None:
        """Its units may stand for these too."""
        for body, units in content.items():
            self.may[body] = max(units, self.may.get(body, 0))
            self.uses[body] = max(now.uses[body], self.uses.get(body, 0))
            if body in now.known:
                self.known.setdefault(body, set()).add(now.known[body])

    def settle(self, content: Content, now: Tonight) -> None:
        """Its units stand for exactly these."""
        self.may, self.uses, self.known = {}, {}, {}
        self.widen(content, now)

    def lose_sight(self, now: Tonight) -> None:
        """Takes for another device what nobody can know to be the same.

        It has another id now, and where it was nobody reads: its name may be there still.
        """
        for body in [body for body in self.may if body in now.known]:
            then = self.known[body]
            if any(i != now.known[body][0] and tenant not in now.read for i, tenant in then):
                other = f"{body}{_ONCE}{min(i for i, _ in then)})"
                self.may[other], self.uses[other] = self.may.pop(body), self.uses.pop(body)

    def as_one(self) -> Account:
        """The same, a device that was lost sight of and the one that it really is as one."""
        may: Counter[str] = Counter()
        uses: Counter[str] = Counter()
        for body, number in self.may.items():
            may[_body(body)] = max(number, may[_body(body)])
            uses[_body(body)] = max(self.uses[body], uses[_body(body)])
        return replace(self, may=may, uses=uses)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a run said of itself, as far as a person goes by it."""

    judged: frozenset[str] = frozenset()
    """The clients that it could read, count and plan; none if it did not come to its end."""
    asked: frozenset[str] = frozenset()
    """The clients that it looked at."""
    beside: bool = False
    """An accepted id let something rise beside a line that the run did not plan."""
    unknown: frozenset[Slot] = frozenset()
    """The new lines whose requests were answered in no way that tells."""
    run: int = 0
    back: Mapping[LineId, int] = field(default_factory=dict)
    """Lines that are to go back to what they held before a run, with that run's number."""
    doubled: frozenset[Slot] = frozenset()
    """What an accepted id let rise beside a line that goes on billing the same devices."""


class Judge:
    """The books that the truth is kept in."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.accounts: dict[LineId, Account] = {}
        self.before: dict[LineId, Line] = {}
        self.books: dict[int, tuple[dict[LineId, Line], dict[LineId, Account]]] = {}
        """By run, what the PSAs held before it, and what that stood for."""
        self.unknown: set[Slot] = set()
        """New lines that kisi sent, and of which it does not know whether they came to be."""

    def opens(self) -> None:
        """Before a night: what people did since the last one is theirs."""
        world = self.world
        self.before = world.live()
        for where in world.touched:
            if where in self.accounts:
                self.accounts[where].trusted = False
        world.touched.clear()
        for where, account in self.accounts.items():
            mapped = world.client_of(where.psa, where.agreement)  # also with billing off
            clients = [*self.owners(where), *([mapped] if mapped else ())]
            if any(self.by_hand(where, client) for client in clients):
                account.trusted = False

    def owners(self, where: LineId, *, later: bool = True) -> list[Client]:
        """The clients that may plan a line: the one on its agreement, or who has its tenants.

        With `later` also who has those of a later run, which kisi may go by as well.
        """
        client = self.world.client_of(where.psa, where.agreement)
        if client is not None:
            return [client] if self.world.is_billed(client) else []
        account = self.accounts[where]
        tenants = account.tenants | (account.since if later else frozenset())
        return [
            one
            for one in self.world.clients
            if self.world.is_billed(one) and not tenants.isdisjoint(self.world.had(one))
        ]

    def closes(self, seen: Seen) -> None:
        """After a night.

        Raises:
            Broken: A promise was not kept.
        """
        now, after = self._tonight(seen), self.world.live()
        kept = {w: replace(a, may={**a.may}, uses={**a.uses}) for w, a in self.accounts.items()}
        self.books[seen.run] = self.before, kept
        self.unknown |= seen.unknown
        self._one_line_a_product(after)
        rises = self._written(after, now, seen)
        if seen.beside:
            self._let_beside(after, seen)
        for where, line in after.items():
            slot = Slot(where.psa, where.agreement, line.product)
            if slot in seen.doubled and where in self.accounts:
                self.accounts[where].trusted = False
        for account in self.accounts.values():
            account.lose_sight(now)
        right = self._right(after, now, rises, seen)
        self._nothing_twice(after, now, right)

    def _tonight(self, seen: Seen) -> Tonight:
        desired = self.world.desired()
        uses: Counter[str] = Counter()
        for content in (*(one.content for one in desired.values()), *self.world.kept()):
            uses.update(content)
        judged = [one for one in self.world.clients if one.name in seen.judged]
        read = {tenant for one in judged for tenant in self.world.tenants_of(one)}
        known = {one.body: (one.id, one.tenant) for one in self.world.machines}
        return Tonight(desired, uses, known, frozenset(read))

    # --- (b) and (c) ----------------------------------------------------------------------------

    def _one_line_a_product(self, after: Mapping[LineId, Line]) -> None:
        lines = Counter(Slot(w.psa, w.agreement, line.product) for w, line in after.items())
        for slot, number in lines.items():
            if number > 1:
                raise Broken("lines", f"{slot} has {number} live lines")

    def _written(
        self,
        after: Mapping[LineId, Line],
        now: Tonight,
        seen: Seen,
    ) -> set[LineId]:
        """Every line that the night changed has the right number now; returns those that rose."""
        gone = self.before.keys() - after.keys()
        if gone:
            raise Broken("quantity", f"lines are gone: {sorted(gone)}")
        rises = set()
        for where, line in after.items():
            old = self.before.get(where)
            if old is not None and old.quantity == line.quantity:
                continue
            if self._is_back(where, line, seen):
                continue  # what bills no more than it should may as well bill today's devices
            if old is None or line.quantity > old.quantity:
                rises.add(where)
            one = now.desired.get(Slot(where.psa, where.agreement, line.product))
            was = "new" if old is None else old.quantity
            change = f"{where} of product {line.product}: {was} -> {line.quantity}"
            if line.quantity != (one.quantity if one else 0):
                raise Broken("quantity", f"{change}, and {one.quantity if one else 0} is right")
            if one is not None:
                self._may_be_written(one.client, change, seen)
                known = where in self.accounts
                account = self._account(where, one)
                account.trusted = account.trusted and known
                if old is None or line.quantity > old.quantity:
                    account.settle(one.content, now)
                    account.trusted = True
            elif where in self.accounts:
                self._may_be_emptied(where, change)
                self.accounts[where].settle({}, now)
            elif Slot(where.psa, where.agreement, line.product) not in self.unknown:
                raise Broken("quantity", f"{change}, and it was never kisi's")
        return rises

    def _is_back(self, where: LineId, line: Line, seen: Seen) -> bool:
        """Whether it went back to what it held before a run, and stands for what it did then."""
        lines, accounts = self.books.get(seen.back.get(where, 0), ({}, {}))
        was = lines[where].quantity if where in lines else 0
        if Slot(where.psa, where.agreement, line.product) in self.unknown and not line.quantity:
            was = 0  # that run made it anew: it was there, and not shown
        if where not in seen.back or line.quantity != was:
            return False
        mine, then = self.accounts[where], accounts.get(where)
        client = self.world.client_of(where.psa, where.agreement)
        mine.since = frozenset(self.world.had(client)) if client else mine.since
        mine.trusted &= then.trusted if then else not was
        mine.may, mine.uses = ({**then.may}, {**then.uses}) if then else ({}, {})
        mine.known = {b: {*k} for b, k in then.known.items()} if then else {}
        return True

    def _may_be_written(self, client: Client, change: str, seen: Seen) -> None:
        if not self.world.can_be_judged(client):
            raise Broken("quantity", f"{change}, although {client.name} could not be read")
        if client.name not in seen.asked:
            raise Broken("quantity", f"{change}, although {client.name} was not in the run")

    def _may_be_emptied(self, where: LineId, change: str) -> None:
        account, owners = self.accounts[where], self.owners(where)
        if owners and all(self._by_hand(where, client, account.called) for client in owners):
            raise Broken("quantity", f"{change}, although people keep {account.called} there")

    def by_hand(self, where: LineId, client: Client) -> bool:
        """Whether people keep it for a client, under any name that it may be known by."""
        account = self.accounts[where]
        names = {account.called, account.called_since or account.called}
        return any(self._by_hand(where, client, name) for name in names)

    def _by_hand(self, where: LineId, client: Client, called: str) -> bool:
        """On another company's agreement people keep nothing for it."""
        ours = self.world.agreements[client.psa, client.company]
        is_ours = where.psa == client.psa and where.agreement in ours
        return is_ours and self.world.is_by_hand(client, called, self.accounts[where].product)

    def _account(self, where: LineId, one: Desired) -> Account:
        account = self.accounts.setdefault(where, Account("", one.product, frozenset()))
        account.called = self.world.names[one.application]
        account.tenants, account.since = frozenset(self.world.had(one.client)), frozenset()
        account.called_since = ""
        return account

    # --- (a) ------------------------------------------------------------------------------------

    def _let_beside(self, after: Iterable[LineId], seen: Seen) -> None:
        """A person let something rise beside what the run does not plan, or does not see."""
        for where in after:
            client = self.world.client_of(where.psa, where.agreement)
            unseen = {line.id for line in self.world.psas[where.psa].unseen(where.agreement)}
            unplanned = client is None or client.name not in seen.judged
            if where in self.accounts and (unplanned or where.line in unseen):
                self.accounts[where].trusted = False

    def _right(
        self,
        after: Mapping[LineId, Line],
        now: Tonight,
        rises: set[LineId],
        seen: Seen,
    ) -> dict[LineId, Desired]:
        """Widens what may stand for the lines; returns those that are proven to be right."""
        right = {}
        for where, line in after.items():
            one = now.desired.get(Slot(where.psa, where.agreement, line.product))
            if one is None or where in rises or line.quantity > one.quantity:
                continue
            fell = where in self.before and line.quantity < self.before[where].quantity
            proven = line.quantity == one.quantity and (fell or one.client.name in seen.judged)
            proven = proven and where not in seen.back
            if proven and where not in self.accounts:
                self._account(where, one).trusted = False
            if where not in self.accounts:
                continue
            if proven:
                self._account(where, one)
                right[where] = one
            elif one.client.name in seen.judged:
                self.accounts[where].since = frozenset(self.world.had(one.client))
                self.accounts[where].called_since = self.world.names[one.application]
            if self.accounts[where].trusted:
                self.accounts[where].widen(one.content, now)
        return right

    def _nothing_twice(
        self,
        after: Mapping[LineId, Line],
        now: Tonight,
        right: Mapping[LineId, Desired],
    ) -> None:
        units = {where: int(line.quantity) for where, line in after.items()}
        mine = {w: account for w, account in self.accounts.items() if w in units}
        sure = {w: one for w, one in right.items() if mine[w].trusted}
        trusted = {w: a for w, a in mine.items() if a.trusted}
        if not self._settled(trusted, sure, units, now):
            missing = too_many(trusted, units, now.uses)
            if missing:
                raise Broken("twice", self._excess(trusted, after, missing, now))
        for where, one in right.items():
            if not mine[where].trusted:
                self._take_back(mine, where, one, units, now, right)

    def _settled(
        self,
        trusted: Mapping[LineId, Account],
        sure: Mapping[LineId, Desired],
        units: Mapping[LineId, int],
        now: Tonight,
    ) -> bool:
        """Takes what is proven as it is today, if that leaves a device for every unit."""
        then = {w: replace(a) for w, a in trusted.items()}
        for where, one in sure.items():
            then[where].settle(one.content, now)
        alike = {where: account.as_one() for where, account in then.items()}
        if too_many(alike, units, now.uses) or self._mixed(then, sure, units, now):
            return False
        for where, account in then.items():
            self.accounts[where] = account
        return True

    def _mixed(
        self,
        accounts: Mapping[LineId, Account],
        sure: Collection[LineId],
        units: Mapping[LineId, int],
        now: Tonight,
    ) -> bool:
        """Whether a line of one application would stand for what uses another one.

        That fits only as long as the other one is not billed. What is not `sure` may stand for what
        it stood for before, whatever that uses now.
        """
        split, uses = {}, dict(now.uses)
        for one in now.desired.values():
            for body, number in one.content.items():
                part = f"{body} {self.world.names[one.application]}"
                uses[part] = uses.get(part, 0) + number
        for where, account in accounts.items():
            split[where] = replace(account, may={}, uses={})
            for body, number in account.may.items():
                part = f"{body} {account.called}"
                split[where].may[part] = number
                before = number if body in now.known and where not in sure else 0
                split[where].uses[part] = before
        return bool(too_many(split, units, uses))

    def _take_back(
        self,
        mine: Mapping[LineId, Account],
        where: LineId,
        one: Desired,
        units: Mapping[LineId, int],
        now: Tonight,
        right: Collection[LineId],
    ) -> None:
        """A line that a person set, and that is right: kisi's again, if it fits.

        Not while another line may still stand for more than today's devices: nobody could tell
        which of the two the devices of this one are on.
        """
        if any(self.accounts[w].trusted and units[w] and w not in right for w in mine):
            return
        account = replace(mine[where], trusted=True)
        account.settle(one.content, now)
        others = {w: self.accounts[w] for w in mine if self.accounts[w].trusted}
        if not too_many({**others, where: account}, units, now.uses):
            self.accounts[where] = account

    def _excess(
        self,
        trusted: Mapping[LineId, Account],
        after: Mapping[LineId, Line],
        missing: Iterable[LineId],
        now: Tonight,
    ) -> str:
        lines = [
            f"line {w.line} ({w.agreement}/{after[w].product}) bills {after[w].quantity}:"
            f" {_text(trusted[w].may)}"
            for w in missing
        ]
        bodies = {body for w in missing for body in trusted[w].may}
        have = _text({body: _uses(body, trusted, now.uses) for body in sorted(bodies)})
        return f"there is no device for every unit of these lines; uses: {have}\n  " + "\n  ".join(
            lines
        )


def _body(name: str) -> str:
    return name.partition(_ONCE)[0]


def _text(content: Content) -> str:
    words = [b if n == 1 else f"{b}x{n}" for b, n in sorted(content.items())]
    return " ".join(words[:MOST_WORDS]) + (" ..." if len(words) > MOST_WORDS else "") or "nothing"


def _uses(body: str, accounts: Mapping[LineId, Account], uses: Mapping[str, int]) -> int:
    return max(uses.get(body, 0), *(a.uses.get(body, 0) for a in accounts.values()), 0)


def too_many(
    accounts: Mapping[LineId, Account], units: Mapping[LineId, int], uses: Mapping[str, int]
) -> list[LineId]:
    """Lines that together bill more units than their devices have uses; empty if none do.

    The greatest flow from lines to devices, by augmenting paths; what can still be reached from a
    unit that finds no device are the lines that share too few.
    """
    limit: dict[str, int] = dict(uses)
    for where, account in accounts.items():
        if units[where]:
            for body, number in account.uses.items():
                if number > limit.get(body, 0):
                    limit[body] = number
    taken: dict[str, Counter[LineId]] = defaultdict(Counter)
    load: Counter[str] = Counter()
    for where, account in accounts.items():
        wanted = units[where]
        for body, most in account.may.items():
            number = min(most, limit.get(body, 0) - load[body], wanted)
            if number > 0:  # nobody has it: no path needs to be looked for
                taken[body][where] += number
                load[body] += number
                wanted -= number
        for _ in range(wanted):
            reached = _place(where, accounts, taken, load, limit)
            if reached:
                return sorted(reached)
    return []


def _place(
    where: LineId,
    accounts: Mapping[LineId, Account],
    taken: dict[str, Counter[LineId]],
    load: Counter[str],
    limit: Mapping[str, int],
) -> set[LineId]:
    """Finds a device for one more unit of a line; else the lines among which none is left.

    Other lines pass theirs on where that helps.
    """
    came: dict[LineId, tuple[str, LineId] | None] = {where: None}
    queue = [where]
    for line in queue:
        for body, most in accounts[line].may.items():
            holders = taken[body]
            if holders[line] >= most:
                continue
            if load[body] < limit.get(body, 0):
                load[body] += 1
                _pass_on(line, body, came, taken)
                return set()
            for other, number in holders.items():
                if number and other not in came:
                    came[other] = (body, line)
                    queue.append(other)
    return set(queue)


def _pass_on(
    line: LineId,
    body: str,
    came: Mapping[LineId, tuple[str, LineId] | None],
    taken: Mapping[str, Counter[LineId]],
) -> None:
    """`line` takes `body`, and gives the one for which it was asked to who asked, and so on."""
    taken[body][line] += 1
    while (step := came[line]) is not None:
        body, asker = step
        taken[body][line] -= 1
        taken[body][asker] += 1
        line = asker
