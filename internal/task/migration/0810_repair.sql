ALTER TABLE task ADD COLUMN source_uuid TEXT NOT NULL DEFAULT ''; -- of a repair: the vault that may have what is lost
