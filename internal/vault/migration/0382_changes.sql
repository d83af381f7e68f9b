-- Every transaction that changes what a vault holds counts that. A vault was measured when the count was that of its usage, and
-- is outdated if that is another one now. Whatever was measured before there was a count is measured anew.
ALTER TABLE vault ADD COLUMN changes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE vault ADD COLUMN sizing BIGINT NOT NULL DEFAULT 0; -- the count of the newest measure that somebody has begun to record
ALTER TABLE vault_usage ADD COLUMN changes BIGINT NOT NULL DEFAULT -1;
ALTER TABLE vault_usage DROP COLUMN outdated;
