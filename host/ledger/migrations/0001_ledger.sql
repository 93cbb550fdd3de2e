-- The accounting ledger.
--
-- Sessions, records and usage change in one transaction. Identifiers are AUTOINCREMENT, so that
-- none is ever given twice. MAC and IP addresses are their octets; times are milliseconds since
-- 1970-01-01 UTC, days are counted from there. There are no foreign keys: one writer keeps the
-- tables together, and each key would be looked up 20,000 times a second to say what is known.

-- "HMWL": tells a ledger from another program's database.
PRAGMA application_id = 0x484d574c;

CREATE TABLE nas (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    client      TEXT    NOT NULL CHECK (length(client) BETWEEN 1 AND 64),
    identifier  TEXT    NOT NULL,
    UNIQUE (client, identifier)
) STRICT;

CREATE TABLE session (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    nas             INTEGER NOT NULL,
    name            TEXT    NOT NULL, -- Acct-Session-Id
    -- Whose it is; NULL where that is not known.
    account         INTEGER,
    user_kind       TEXT    CHECK (user_kind IN ('device', 'login')),
    user            INTEGER,
    class           INTEGER,
    phase           TEXT    NOT NULL CHECK (phase IN ('open', 'closed', 'resumed')),
    began           INTEGER NOT NULL,
    last            INTEGER NOT NULL,
    heard           INTEGER NOT NULL,
    input           INTEGER NOT NULL CHECK (input >= 0),
    output          INTEGER NOT NULL CHECK (output >= 0),
    input_packets   INTEGER NOT NULL CHECK (input_packets >= 0),
    output_packets  INTEGER NOT NULL CHECK (output_packets >= 0),
    seconds         INTEGER NOT NULL CHECK (seconds >= 0),
    -- What the closings told of those.
    told_input           INTEGER NOT NULL,
    told_output          INTEGER NOT NULL,
    told_input_packets   INTEGER NOT NULL,
    told_output_packets  INTEGER NOT NULL,
    told_seconds         INTEGER NOT NULL,
    ended           INTEGER,
    cause           TEXT    CHECK (cause IN ('stop', 'restart', 'lost', 'reused')),
    code            INTEGER, -- Acct-Terminate-Cause of a stop
    started         INTEGER NOT NULL CHECK (started IN (0, 1)),
    gigawords       INTEGER NOT NULL CHECK (gigawords IN (0, 1)),
    closings        INTEGER NOT NULL,
    backwards       INTEGER NOT NULL,
    newest          INTEGER NOT NULL, -- the last of its records
    station         BLOB    CHECK (length(station) = 6),
    bssid           BLOB    CHECK (length(bssid) = 6),
    user_name       BLOB,
    chargeable_user BLOB,
    radius_class    BLOB,
    multi_session   TEXT,
    address         BLOB    CHECK (length(address) = 4),
    address6        BLOB    CHECK (length(address6) = 16),
    prefix6         INTEGER,
    CHECK ((ended IS NULL) = (cause IS NULL)),
    CHECK (phase = 'open' OR ended IS NOT NULL)
) STRICT;

-- The newest of those that share an identifier comes last.
CREATE UNIQUE INDEX session_name ON session (nas, name, id);
-- For restarts of a NAS, for silence, and for who is on now.
CREATE INDEX session_open ON session (nas, id) WHERE phase <> 'closed';
CREATE INDEX session_user ON session (user_kind, user, id) WHERE phase <> 'closed';
-- For retention.
CREATE INDEX session_ended ON session (class, ended) WHERE phase = 'closed';

-- Every record, once, in the order of arrival. Written at its end only; a session's records are
-- chained instead of indexed, for an index would be one more page to write for each.
CREATE TABLE record (
    seq             INTEGER PRIMARY KEY AUTOINCREMENT,
    session         INTEGER NOT NULL,
    prev            INTEGER NOT NULL, -- the session's record before this one; 0 is none
    kind            TEXT    NOT NULL CHECK (kind IN ('start', 'interim', 'stop')),
    received        INTEGER NOT NULL,
    event           INTEGER,
    input           INTEGER NOT NULL,
    output          INTEGER NOT NULL,
    input_packets   INTEGER NOT NULL,
    output_packets  INTEGER NOT NULL,
    seconds         INTEGER NOT NULL
) STRICT;

-- What billing is told, in order: the end of each session once, and corrections of it.
CREATE TABLE closing (
    seq             INTEGER PRIMARY KEY AUTOINCREMENT,
    session         INTEGER NOT NULL,
    kind            TEXT    NOT NULL CHECK (kind IN ('close', 'correction')),
    told            INTEGER NOT NULL,
    ended           INTEGER NOT NULL,
    cause           TEXT    NOT NULL,
    code            INTEGER,
    -- What no earlier closing of the session told.
    input           INTEGER NOT NULL,
    output          INTEGER NOT NULL,
    input_packets   INTEGER NOT NULL,
    output_packets  INTEGER NOT NULL,
    seconds         INTEGER NOT NULL,
    -- In all.
    total_input           INTEGER NOT NULL,
    total_output          INTEGER NOT NULL,
    total_input_packets   INTEGER NOT NULL,
    total_output_packets  INTEGER NOT NULL,
    total_seconds         INTEGER NOT NULL
) STRICT;

CREATE INDEX closing_session ON closing (session);

CREATE TABLE usage (
    account         INTEGER NOT NULL,
    user_kind       TEXT    NOT NULL CHECK (user_kind IN ('device', 'login')),
    user            INTEGER NOT NULL,
    day             INTEGER NOT NULL,
    input           INTEGER NOT NULL,
    output          INTEGER NOT NULL,
    input_packets   INTEGER NOT NULL,
    output_packets  INTEGER NOT NULL,
    seconds         INTEGER NOT NULL,
    PRIMARY KEY (account, user_kind, user, day)
) STRICT, WITHOUT ROWID;

CREATE INDEX usage_user ON usage (user_kind, user, day);
CREATE INDEX usage_day ON usage (day);

-- Restarts of NASes. `done` is 0 while sessions may still be open that it ended.
CREATE TABLE restart (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    nas     INTEGER NOT NULL,
    kind    TEXT    NOT NULL CHECK (kind IN ('on', 'off')),
    at      INTEGER NOT NULL,
    bssid   BLOB    CHECK (length(bssid) = 6),
    done    INTEGER NOT NULL CHECK (done IN (0, 1))
) STRICT;

CREATE INDEX restart_at ON restart (nas, at);
CREATE INDEX restart_pending ON restart (id) WHERE done = 0;
