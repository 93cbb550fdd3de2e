-- Between which gateways devices move: what preparation learns from, so that it need not learn it
-- again after each restart. Who moved is not in it.
CREATE TABLE move (
    origin       INTEGER NOT NULL REFERENCES gateway (id) ON DELETE CASCADE,
    destination  INTEGER NOT NULL REFERENCES gateway (id) ON DELETE CASCADE,
    -- How many moves it counts for, as of `at`.
    weight       REAL    NOT NULL CHECK (weight > 0),
    at           INTEGER NOT NULL,
    PRIMARY KEY (origin, destination),
    CHECK (origin <> destination)
) STRICT, WITHOUT ROWID;

CREATE INDEX move_destination ON move (destination);
CREATE INDEX move_at ON move (at);
