-- SHA-256 of a pack that was put into a store which keeps it; NULL where it is not known.
ALTER TABLE ledger_object ADD COLUMN sum BLOB;
