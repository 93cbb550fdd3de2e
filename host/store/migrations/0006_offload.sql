-- Wi-Fi credentials for cellular subscribers: who there is, what they are told, what was issued
-- to whom, which address is whose, and who changed what in the datastore.

-- How often a log-in may be used: without end, for one log-on, or no more since that one.
ALTER TABLE login ADD COLUMN uses TEXT NOT NULL DEFAULT 'any' CHECK (uses IN ('any', 'once', 'spent'));

-- What has run out is looked for now and then.
CREATE INDEX login_expires ON login (expires) WHERE expires IS NOT NULL;

-- Subscribers of the cellular network. Digits in the clear, for they are what is searched by.
CREATE TABLE subscriber (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    imsi     TEXT    NOT NULL UNIQUE CHECK (length(imsi) BETWEEN 6 AND 15),
    msisdn   TEXT    UNIQUE CHECK (length(msisdn) BETWEEN 5 AND 15),
    account  INTEGER NOT NULL REFERENCES account (id),
    label    TEXT    NOT NULL CHECK (length(label) <= 128),
    status   TEXT    NOT NULL CHECK (status IN ('active', 'suspended'))
) STRICT;

CREATE INDEX subscriber_account ON subscriber (account);

-- What devices are told, in JSON; one for everybody, one a class of service, one a device.
CREATE TABLE policy (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    scope   TEXT    NOT NULL CHECK (scope IN ('default', 'class', 'mac')),
    class   INTEGER UNIQUE REFERENCES class (id),
    mac     BLOB    UNIQUE CHECK (length(mac) = 6),
    policy  TEXT    NOT NULL CHECK (json_valid(policy)),
    CHECK ((scope = 'class') = (class IS NOT NULL)),
    CHECK ((scope = 'mac') = (mac IS NOT NULL))
) STRICT;

CREATE UNIQUE INDEX policy_default ON policy (scope) WHERE scope = 'default';

-- For whom a log-in was issued. One of a subscriber and one of a station at a time.
CREATE TABLE issued (
    login       INTEGER PRIMARY KEY REFERENCES login (id) ON DELETE CASCADE,
    imsi        TEXT    NOT NULL UNIQUE REFERENCES subscriber (imsi),
    imei        TEXT,
    mac         BLOB    NOT NULL UNIQUE CHECK (length(mac) = 6),
    -- From which address it was asked for.
    address     TEXT,
    issued      INTEGER NOT NULL,
    renew_from  INTEGER,
    way         TEXT    NOT NULL CHECK (way IN ('https', 'sms'))
) STRICT;

-- Which address of which packet gateway is whose. '' is an access point name that is not known.
CREATE TABLE bearer (
    gateway  TEXT    NOT NULL,
    apn      TEXT    NOT NULL,
    address  TEXT    NOT NULL, -- a prefix in CIDR form
    imsi     TEXT    NOT NULL,
    imei     TEXT,
    msisdn   TEXT,
    session  TEXT    NOT NULL,
    since    INTEGER NOT NULL,
    seen     INTEGER NOT NULL,
    PRIMARY KEY (gateway, apn, address)
) STRICT, WITHOUT ROWID;

-- What an administrator did: written in the transaction of the change, and never changed. Records
-- are in JSON without key or secret.
CREATE TABLE audit (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    time       INTEGER NOT NULL,
    actor      TEXT    NOT NULL CHECK (length(actor) BETWEEN 1 AND 128),
    kind       TEXT    NOT NULL,
    record     INTEGER NOT NULL,
    operation  TEXT    NOT NULL CHECK (operation IN ('create', 'update', 'delete')),
    before     TEXT    CHECK (json_valid(before)),
    after      TEXT    CHECK (json_valid(after)),
    CHECK (before IS NOT NULL OR after IS NOT NULL)
) STRICT;

CREATE INDEX audit_kind ON audit (kind, seq);
CREATE INDEX audit_time ON audit (time);

CREATE TRIGGER audit_stands BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE(ABORT, 'what the audit trail says is not changed');
END;
