-- Log-ins: names and passwords for 802.1X, WISPr and PAP.
CREATE TABLE login (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    account        INTEGER NOT NULL REFERENCES account (id),
    -- A network access identifier, its realm in lower case.
    name           TEXT    NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 253),
    -- In the clear, so that what a log-in is good for shows without opening it.
    verifier_kind  TEXT    NOT NULL CHECK (verifier_kind IN ('nt-hash', 'password', 'argon2id')),
    verifier       BLOB    NOT NULL, -- sealed
    mac            BLOB    CHECK (length(mac) = 6),
    expires        INTEGER,
    label          TEXT    NOT NULL CHECK (length(label) <= 128),
    status         TEXT    NOT NULL CHECK (status IN ('active', 'suspended'))
) STRICT;

CREATE INDEX login_account ON login (account);
CREATE INDEX login_mac ON login (mac);

-- The outbox again, without a list of the kinds of records: who reads it knows them, and refuses
-- what it does not know.
CREATE TABLE outbox_anew (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    entity     TEXT    NOT NULL,
    record     INTEGER NOT NULL,
    operation  TEXT    NOT NULL CHECK (operation IN ('create', 'update', 'delete')),
    payload    TEXT    NOT NULL CHECK (json_valid(payload)),
    time       INTEGER NOT NULL
) STRICT;

INSERT INTO outbox_anew SELECT seq, entity, record, operation, payload, time FROM outbox;
-- Numbers go on where they were, though all entries may be pruned.
DELETE FROM sqlite_sequence WHERE name = 'outbox_anew';
INSERT INTO sqlite_sequence (name, seq)
    SELECT 'outbox_anew', seq FROM sqlite_sequence WHERE name = 'outbox';
DROP TABLE outbox;
ALTER TABLE outbox_anew RENAME TO outbox;
