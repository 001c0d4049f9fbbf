"""What kisi remembers between runs: one SQLite file, `journal.db`, in the state folder.

```
run ──────────┬── at, command, config_hash, state (running|finished|interrupted|crashed), exit code
              │
client ───────┼── psa, agreement (together unique), company, name, billing, tenants, confirmed_at
 ├─ client_state  status, guard, reason, remedy                            [first_run .. last_run]
 ├─ line          line_id, product, application, categories, owned, current, baseline_after
 │   └─ line_quantity   quantity proven                                    [first_run .. last_run]
 │   └─ line_terms      price, included units, cycle: what its PSA told from then on
 ├─ operation     key, action, before, after, lines_before ─ intent; outcome, settled, ...
 ├─ plan          an id for --accept and the lines it holds, open          [first_run .. last_run]
 ├─ accept        product, how many times a held change of it was accepted
 └─ usage         tenant ──> content (compressed JSON, stored once)        [first_run .. last_run]
usage_day         tenant, application ──> quantities, held                [first_day .. last_day]
last_seen         tenant ──> when each device was last seen, as the newest reading has it
used_id           an accepted id: run, at, who
foreign_change    psa, agreement, at, what, lines: no person has looked at it yet
latest            report, certificates, tenants, keys: the last run's only
```

Everything that can stay the same is a range of runs: an unchanged day adds one row, the run's. A
range says what was proven in its first and last run; one of `usage` also holds for those between.

An operation exists before its request is sent, and is *settled* only when somebody knows what it
did; what it proves is committed with it. A line is owned from its first proof until it is disowned;
its `current` quantity is the last proven one, its baseline the ranges after `baseline_after`.

Whoever writes holds `kisi.lock.run_lock`; whoever only reads (`readonly=True`) needs no lock.
"""

from __future__ import annotations

from kisi.journal.holds import HeldPlan
from kisi.journal.lines import ConfirmedLine, LineHistory, QuantityRange
from kisi.journal.operations import (
    Operation,
    OperationOutcome,
    StoredForeignChange,
    emergency_line,
)
from kisi.journal.runs import Billing, ClientRecord, ClientState, Run, RunState, Subject
from kisi.journal.store import Journal, repair
from kisi.journal.usage import PackedUsage, UsageRecord

__all__ = [
    "Billing",
    "ClientRecord",
    "ClientState",
    "ConfirmedLine",
    "HeldPlan",
    "Journal",
    "LineHistory",
    "Operation",
    "OperationOutcome",
    "PackedUsage",
    "QuantityRange",
    "Run",
    "RunState",
    "StoredForeignChange",
    "Subject",
    "UsageRecord",
    "emergency_line",
    "repair",
]
