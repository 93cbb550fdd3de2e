-- The control channel: where traffic leaves, and who may open a channel.

-- "home": through the home gateway, by a tunnel; "local": at the gateway that serves.
ALTER TABLE class ADD COLUMN anchor TEXT NOT NULL DEFAULT 'home' CHECK (anchor IN ('home', 'local'));

-- The authority that signs the core's certificates and its gateways'.
CREATE TABLE authority (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    certificate  BLOB    NOT NULL, -- X.509 in DER
    key          BLOB    NOT NULL, -- PKCS#8 in DER, sealed
    created      INTEGER NOT NULL
) STRICT;

-- The last enrolment token that was printed for a gateway: SHA-256 of its secret.
CREATE TABLE enrolment_token (
    gateway  INTEGER PRIMARY KEY REFERENCES gateway (id) ON DELETE CASCADE,
    hash     BLOB    NOT NULL UNIQUE CHECK (length(hash) = 32),
    expires  INTEGER NOT NULL,
    used     INTEGER
) STRICT;

-- The certificates of gateways, by serial number. One that is not here is not let in.
CREATE TABLE credential (
    serial     BLOB    NOT NULL PRIMARY KEY CHECK (length(serial) = 16),
    gateway    INTEGER NOT NULL REFERENCES gateway (id) ON DELETE CASCADE,
    issued     INTEGER NOT NULL,
    not_after  INTEGER NOT NULL,
    -- When it first opened a channel.
    used       INTEGER,
    -- When it ended before its time, and why.
    ended      INTEGER,
    end        TEXT    CHECK (end IN ('revoked', 'superseded', 'replaced')),
    CHECK ((ended IS NULL) = (end IS NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX credential_gateway ON credential (gateway, issued);
