-- A gateway that is none for others but a hybrid device of that home network: its `mac` is then the
-- address of its virtual interface. NULL is a gateway. It never changes.
ALTER TABLE gateway ADD COLUMN device_of INTEGER REFERENCES network (id);

CREATE INDEX gateway_device_of ON gateway (device_of);
