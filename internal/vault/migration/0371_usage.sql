-- What a vault took when it was last measured.
CREATE TABLE vault_usage (
	vault_uuid TEXT PRIMARY KEY,
	epoch BIGINT NOT NULL, -- gc epoch of its ledger
	measured_at BIGINT NOT NULL,
	physical_bytes BIGINT NOT NULL,
	live_bytes BIGINT NOT NULL,
	dead_bytes BIGINT NOT NULL,
	dead_part_bytes BIGINT NOT NULL,
	locked_bytes BIGINT NOT NULL,
	logical_bytes BIGINT NOT NULL,
	cold_live_bytes BIGINT NOT NULL, -- of live_bytes, and so on
	cold_dead_bytes BIGINT NOT NULL,
	cold_dead_part_bytes BIGINT NOT NULL
);
-- Plain bytes of parts of bundles that deleting it alone would free in addition to unique_bytes, once computed.
ALTER TABLE recovery_point ADD COLUMN unique_part_bytes BIGINT;
