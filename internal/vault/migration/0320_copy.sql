-- A recovery point may be a copy of one in another vault.
ALTER TABLE recovery_point ADD COLUMN source_vault_arn TEXT NOT NULL DEFAULT ''; -- empty for what is no copy
