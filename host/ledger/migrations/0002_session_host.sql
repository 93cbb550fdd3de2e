-- Where a session's records come from, as octets: where its NAS can be told to end it, by whoever
-- finds the session here after a restart. NULL for sessions from before, until they are heard of.
-- Without a CHECK, which would have SQLite go through every session that there is.
ALTER TABLE session ADD COLUMN host BLOB;
