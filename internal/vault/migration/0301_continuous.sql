-- Whether a recovery point grows with its resource, instead of holding one moment of it.
ALTER TABLE recovery_point ADD COLUMN continuous BOOLEAN NOT NULL DEFAULT FALSE;
