-- For how many days the sessions of a class of service are kept after their end. NULL is the
-- ledger's own.
ALTER TABLE class ADD COLUMN retention INTEGER CHECK (retention BETWEEN 1 AND 36500);
