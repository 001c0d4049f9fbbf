"""The journal's tables, and how an older journal becomes a current one.

The journal's version is SQLite's `user_version`: the number of migrations that were applied. A
migration that was ever released is never edited; a change of the tables is a new one at the end.
"""

from __future__ import annotations

import sqlite3

APPLICATION_ID = 0x6B697369
"""`kisi` in ASCII, in SQLite's `application_id`: tells a journal from any other database."""

_RANGE = """    first_run INTEGER NOT NULL REFERENCES run,
    first_at INTEGER NOT NULL,
    last_run INTEGER NOT NULL REFERENCES run,
    last_at INTEGER NOT NULL"""
"""The runs for which a row holds."""
_FIRST = f"""
CREATE TABLE run (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    version TEXT NOT NULL,
    command TEXT NOT NULL,
    config_hash TEXT NOT NULL,
    plan_scope TEXT NOT NULL,
    state TEXT NOT NULL,
    ended_at INTEGER,
    exit_code INTEGER,
    message TEXT NOT NULL DEFAULT '',
    summary TEXT NOT NULL DEFAULT '{{}}'
);
CREATE TABLE client (
    id INTEGER PRIMARY KEY,
    psa TEXT NOT NULL,
    agreement TEXT NOT NULL,
    company TEXT NOT NULL,
    name TEXT NOT NULL,
    billing TEXT NOT NULL DEFAULT 'on',
    tenants TEXT NOT NULL DEFAULT '[]',
    confirmed_run INTEGER REFERENCES run,
    confirmed_at INTEGER,
    UNIQUE (psa, agreement)
);
CREATE TABLE client_state (
    id INTEGER PRIMARY KEY,
    client INTEGER NOT NULL REFERENCES client,
    status TEXT NOT NULL,
    guard TEXT NOT NULL,
    reason TEXT NOT NULL,
    remedy TEXT NOT NULL,
{_RANGE}
);
CREATE INDEX client_state_client ON client_state (client);
CREATE TABLE line (
    id INTEGER PRIMARY KEY,
    client INTEGER NOT NULL REFERENCES client,
    line_id TEXT NOT NULL,
    product TEXT NOT NULL,
    application TEXT NOT NULL,
    categories TEXT NOT NULL,
    name TEXT NOT NULL,
    tenants TEXT NOT NULL,
    owned INTEGER NOT NULL DEFAULT 1,
    current INTEGER REFERENCES line_quantity,
    baseline_after INTEGER NOT NULL DEFAULT 0,
    UNIQUE (client, line_id)
);
CREATE TABLE line_quantity (
    id INTEGER PRIMARY KEY,
    line INTEGER NOT NULL REFERENCES line,
    quantity TEXT NOT NULL,
{_RANGE}
);
CREATE INDEX line_quantity_line ON line_quantity (line);
CREATE TABLE operation (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL,
    run INTEGER NOT NULL REFERENCES run,
    at INTEGER NOT NULL,
    client INTEGER NOT NULL REFERENCES client,
    company TEXT NOT NULL,
    name TEXT NOT NULL,
    tenants TEXT NOT NULL,
    application TEXT NOT NULL,
    categories TEXT NOT NULL,
    product TEXT NOT NULL,
    line_id TEXT,
    action TEXT NOT NULL,
    before TEXT,
    after TEXT NOT NULL,
    outcome TEXT,
    outcome_at INTEGER,
    outcome_run INTEGER REFERENCES run,
    quantity TEXT,
    detail TEXT NOT NULL DEFAULT '',
    request_id TEXT NOT NULL DEFAULT '',
    settled INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX operation_run ON operation (run);
CREATE INDEX operation_unsettled ON operation (client, product) WHERE settled = 0;
CREATE TABLE plan (
    id TEXT NOT NULL,
    client INTEGER NOT NULL,
{_RANGE},
    open INTEGER NOT NULL,
    lines BLOB NOT NULL,
    PRIMARY KEY (id, client)
);
CREATE TABLE used_id (
    id TEXT PRIMARY KEY,
    run INTEGER NOT NULL REFERENCES run,
    at INTEGER NOT NULL,
    who TEXT NOT NULL
);
CREATE TABLE accept (
    client INTEGER NOT NULL REFERENCES client,
    product TEXT NOT NULL,
    times INTEGER NOT NULL,
    PRIMARY KEY (client, product)
);
CREATE TABLE content (
    id INTEGER PRIMARY KEY,
    fingerprint BLOB NOT NULL UNIQUE,
    body BLOB NOT NULL
);
CREATE TABLE usage (
    id INTEGER PRIMARY KEY,
    client INTEGER NOT NULL REFERENCES client,
    tenant TEXT NOT NULL,
    content INTEGER NOT NULL REFERENCES content,
{_RANGE}
);
CREATE INDEX usage_client ON usage (client);
CREATE INDEX usage_content ON usage (content);
CREATE TABLE latest (
    subject TEXT PRIMARY KEY,
    run INTEGER NOT NULL REFERENCES run,
    at INTEGER NOT NULL,
    value BLOB NOT NULL
);
"""

_ACKNOWLEDGED = "ALTER TABLE operation ADD COLUMN acknowledged INTEGER NOT NULL DEFAULT 0;"

_ACCEPTED = """
CREATE TABLE accepted (
    key TEXT PRIMARY KEY,
    client INTEGER NOT NULL REFERENCES client,
    id TEXT NOT NULL,
    run INTEGER NOT NULL REFERENCES run,
    at INTEGER NOT NULL,
    who TEXT NOT NULL
);
CREATE INDEX usage_tenant ON usage (tenant, first_run);
ALTER TABLE line ADD COLUMN proven INTEGER NOT NULL DEFAULT 0;
UPDATE line SET proven = coalesce(
    (SELECT last_run FROM line_quantity WHERE line_quantity.id = line.current), 0);
"""

_DAYS = """
CREATE TABLE usage_day (
    id INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    application TEXT NOT NULL,
    first_day TEXT NOT NULL,
    last_day TEXT NOT NULL,
    quantities TEXT NOT NULL,
    held INTEGER NOT NULL
);
CREATE INDEX usage_day_tenant ON usage_day (tenant, application, last_day);
"""

_EARLIER = "ALTER TABLE line ADD COLUMN earlier TEXT NOT NULL DEFAULT '[]';"

_FOREIGN = """
ALTER TABLE operation ADD COLUMN lines_before BLOB;
CREATE INDEX operation_unproven ON operation (id) WHERE lines_before IS NOT NULL;
CREATE TABLE foreign_change (
    id INTEGER PRIMARY KEY,
    psa TEXT NOT NULL,
    agreement TEXT NOT NULL,
    at INTEGER NOT NULL,
    what TEXT NOT NULL,
    lines BLOB NOT NULL
);
"""

_LAST_SEEN = "CREATE TABLE last_seen (tenant TEXT PRIMARY KEY, devices BLOB NOT NULL);"

_TERMS = """
CREATE TABLE line_terms (
    id INTEGER PRIMARY KEY,
    line INTEGER NOT NULL REFERENCES line,
    at INTEGER NOT NULL,
    terms TEXT NOT NULL
);
CREATE INDEX line_terms_line ON line_terms (line);
"""

_FOUND = """
CREATE TABLE line_found (
    line INTEGER NOT NULL REFERENCES line,
    day TEXT NOT NULL,
    quantity TEXT NOT NULL,
    PRIMARY KEY (line, day)
);
"""

_REVERSAL = """
ALTER TABLE line ADD COLUMN reversal TEXT;
ALTER TABLE operation ADD COLUMN proofs TEXT NOT NULL DEFAULT '[]';
"""

MIGRATIONS: tuple[str, ...] = (
    *(_FIRST, _ACKNOWLEDGED, _ACCEPTED, _DAYS, _EARLIER, _FOREIGN),
    *(_LAST_SEEN, _TERMS, _FOUND, _REVERSAL),
)

TABLES = ("run", "client", "line", "line_quantity", "operation", "used_id", "content", "usage")
"""What every journal, whatever its version, has at least."""


def version_of(connection: sqlite3.Connection) -> int:
    """How many migrations the journal has seen; 0 for a database that is not a journal yet."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate(connection: sqlite3.Connection) -> None:
    """Brings a journal to the version that `MIGRATIONS` make, all of them or none."""
    missing = MIGRATIONS[version_of(connection) :]
    try:
        connection.executescript(
            f"BEGIN IMMEDIATE; PRAGMA application_id = {APPLICATION_ID};"
            f"{' '.join(missing)}"
            f"PRAGMA user_version = {len(MIGRATIONS)}; COMMIT;"
        )
    finally:
        connection.rollback()  # nothing to undo after the COMMIT
