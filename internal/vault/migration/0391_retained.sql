-- What is dead and retained by the store.
ALTER TABLE vault_usage ADD COLUMN retained_bytes BIGINT NOT NULL DEFAULT 0;
