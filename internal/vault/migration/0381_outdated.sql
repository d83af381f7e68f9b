-- Whether recovery points came or went since a vault was measured.
ALTER TABLE vault_usage ADD COLUMN outdated BIGINT NOT NULL DEFAULT 0;
