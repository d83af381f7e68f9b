-- The state of a vault and of its recovery points is also kept in the store, in generations: version is the one that holds
-- the row as it is, written the highest one that is durable there.
ALTER TABLE vault ADD COLUMN state_version BIGINT NOT NULL DEFAULT 1;
ALTER TABLE vault ADD COLUMN state_written BIGINT NOT NULL DEFAULT 0;
ALTER TABLE vault ADD COLUMN state_since BIGINT NOT NULL DEFAULT 0; -- when the work of writing was last enqueued; 0 = no such work
ALTER TABLE recovery_point ADD COLUMN state_version BIGINT NOT NULL DEFAULT 1;
ALTER TABLE recovery_point ADD COLUMN state_written BIGINT NOT NULL DEFAULT 0;
ALTER TABLE recovery_point ADD COLUMN state_id TEXT NOT NULL DEFAULT ''; -- the store's name for the state of a parent, which has no store_id
ALTER TABLE recovery_point ADD COLUMN address TEXT NOT NULL DEFAULT '{}'; -- JSON map: where the resource was
CREATE INDEX vault_unwritten ON vault (uuid) WHERE state_version > state_written;
CREATE INDEX recovery_point_unwritten ON recovery_point (vault_uuid, arn) WHERE state_version > state_written;
