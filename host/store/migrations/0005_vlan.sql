-- The VLAN into which a NAS puts what is let in by a log-in. NULL is left to the NAS.
ALTER TABLE class ADD COLUMN vlan INTEGER CHECK (vlan BETWEEN 1 AND 4094);
