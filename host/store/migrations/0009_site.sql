-- Where a gateway is heard, for the map that hybrid devices go by: latitude, longitude, range in metres, as
-- text. NULL is on no map.
ALTER TABLE gateway ADD COLUMN site TEXT;
