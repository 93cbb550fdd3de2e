-- `HMWV`
PRAGMA application_id = 1213028182;

CREATE TABLE kept (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  kind TEXT NOT NULL,
  -- It is sealed with the thing, too: what is moved to another row does not open.
  name BLOB NOT NULL,
  sealed BLOB NOT NULL,
  UNIQUE (kind, name)
) STRICT;
