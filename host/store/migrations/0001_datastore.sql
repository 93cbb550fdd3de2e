-- The roaming datastore.
--
-- Identifiers are AUTOINCREMENT, so that none is ever given twice: a sealed value is bound to its
-- row's identifier, and projections elsewhere know records by it. MAC addresses and SSIDs are
-- their octets. Times are milliseconds since 1970-01-01 UTC. Secrets are sealed outside SQL.

-- "HMWD": tells a datastore from another program's database.
PRAGMA application_id = 0x484d5744;

-- What a subscriber is entitled to while away from home. NULL is unlimited, or left to the
-- gateway.
CREATE TABLE class (
    id                 INTEGER PRIMARY KEY AUTOINCREMENT,
    name               TEXT    NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 64),
    coverage           TEXT    NOT NULL CHECK (coverage IN ('local', 'national', 'everywhere')),
    priority           INTEGER NOT NULL CHECK (priority BETWEEN 0 AND 7),
    bandwidth_up       INTEGER CHECK (bandwidth_up BETWEEN 0 AND 4294967295),   -- bit/s
    bandwidth_down     INTEGER CHECK (bandwidth_down BETWEEN 0 AND 4294967295), -- bit/s
    quota_octets       INTEGER CHECK (quota_octets >= 0),
    quota_period       TEXT    CHECK (quota_period IN ('day', 'week', 'month')),
    encryption         TEXT    NOT NULL CHECK (encryption IN ('required', 'off')),
    bonding_mirrored   INTEGER NOT NULL CHECK (bonding_mirrored IN (0, 1)),
    bonding_striped    INTEGER NOT NULL CHECK (bonding_striped IN (0, 1)),
    handoff_threshold  INTEGER CHECK (handoff_threshold BETWEEN -128 AND 127),  -- dBm
    session_timeout    INTEGER CHECK (session_timeout BETWEEN 0 AND 4294967295), -- seconds
    idle_timeout       INTEGER CHECK (idle_timeout BETWEEN 0 AND 4294967295),    -- seconds
    CHECK ((quota_octets IS NULL) = (quota_period IS NULL))
) STRICT;

CREATE TABLE account (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    name    TEXT    NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 64),
    class   INTEGER NOT NULL REFERENCES class (id),
    status  TEXT    NOT NULL CHECK (status IN ('active', 'suspended'))
) STRICT;

CREATE INDEX account_class ON account (class);

CREATE TABLE gateway (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    name           TEXT    NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 64),
    mac            BLOB    NOT NULL UNIQUE CHECK (length(mac) = 6),
    place          TEXT    NOT NULL CHECK (length(place) BETWEEN 3 AND 128),
    operator       TEXT    NOT NULL CHECK (length(operator) BETWEEN 1 AND 64),
    -- An IP address or prefix in canonical form; NULL asks nothing.
    address        TEXT    UNIQUE,
    radius_secret  BLOB    NOT NULL, -- sealed
    lookup         TEXT    NOT NULL CHECK (lookup IN ('homeward', 'hostapd')),
    status         TEXT    NOT NULL CHECK (status IN ('active', 'suspended'))
) STRICT;

CREATE TABLE network (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    account   INTEGER NOT NULL REFERENCES account (id),
    gateway   INTEGER REFERENCES gateway (id),
    ssid      BLOB    NOT NULL CHECK (length(ssid) BETWEEN 1 AND 32),
    security  TEXT    NOT NULL CHECK (security IN ('wpa2-psk', 'wpa3-sae', 'wpa2-wpa3', '802.1x')),
    status    TEXT    NOT NULL CHECK (status IN ('active', 'suspended')),
    UNIQUE (account, ssid)
) STRICT;

CREATE INDEX network_gateway ON network (gateway);

CREATE TABLE device (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    network   INTEGER NOT NULL REFERENCES network (id),
    mac       BLOB    NOT NULL CHECK (length(mac) = 6),
    -- In the clear, so that a network's change of security can be judged without opening keys.
    key_kind  TEXT    NOT NULL CHECK (key_kind IN ('none', 'passphrase', 'psk')),
    key       BLOB, -- sealed
    label     TEXT    NOT NULL CHECK (length(label) <= 128),
    status    TEXT    NOT NULL CHECK (status IN ('active', 'suspended')),
    UNIQUE (network, mac),
    CHECK ((key_kind = 'none') = (key IS NULL))
) STRICT;

CREATE INDEX device_mac ON device (mac);

-- Every mutation, written in its transaction. `payload` is the record in JSON without key or
-- secret: as it is since, or, after a deletion, as it was.
CREATE TABLE outbox (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    entity     TEXT    NOT NULL CHECK (entity IN ('class', 'account', 'gateway', 'network', 'device')),
    record     INTEGER NOT NULL,
    operation  TEXT    NOT NULL CHECK (operation IN ('create', 'update', 'delete')),
    payload    TEXT    NOT NULL CHECK (json_valid(payload)),
    time       INTEGER NOT NULL
) STRICT;

-- How far the outbox was pruned, so that a reader who was away too long is told.
CREATE TABLE outbox_pruned (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    seq  INTEGER NOT NULL
) STRICT;

INSERT INTO outbox_pruned (one, seq) VALUES (1, 0);

-- Which key of the key file seals, so that no writer seals with a key that a rotation has
-- destroyed.
CREATE TABLE sealing (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    key  BLOB    NOT NULL CHECK (length(key) = 8)
) STRICT;
