-- vault_partition counts the vaults of an account in a region, for the quota; its
-- row is the lock under which vaults are made and removed, and under which the list of
-- protected resources over all vaults changes.
CREATE TABLE vault_partition (
	account TEXT NOT NULL,
	region TEXT NOT NULL,
	vaults BIGINT NOT NULL,
	PRIMARY KEY (account, region)
);

CREATE TABLE vault (
	uuid TEXT PRIMARY KEY,
	account TEXT NOT NULL,
	region TEXT NOT NULL,
	name TEXT NOT NULL,
	creator_request_id TEXT NOT NULL,
	request TEXT NOT NULL, -- digest of what it was created with
	created_at BIGINT NOT NULL,
	point_count BIGINT NOT NULL, -- rows of recovery_point, whatever their status
	deleting_since BIGINT NOT NULL -- when the work on its deletions was last enqueued; 0 = no such work
);
CREATE UNIQUE INDEX vault_name ON vault (account, region, name);
CREATE INDEX vault_deleting ON vault (deleting_since) WHERE deleting_since > 0;

-- Times are 0 where there is none.
CREATE TABLE recovery_point (
	vault_uuid TEXT NOT NULL REFERENCES vault (uuid),
	arn TEXT NOT NULL,
	account TEXT NOT NULL,
	region TEXT NOT NULL,
	resource_arn TEXT NOT NULL,
	resource_type TEXT NOT NULL,
	resource_name TEXT NOT NULL,
	role_arn TEXT NOT NULL,
	job_id TEXT NOT NULL,
	status TEXT NOT NULL,
	status_message TEXT NOT NULL,
	status_at BIGINT NOT NULL,
	created_at BIGINT NOT NULL,
	initiated_at BIGINT NOT NULL,
	completed_at BIGINT NOT NULL,
	restored_at BIGINT NOT NULL, -- start of the last restore that completed
	delete_after_days BIGINT NOT NULL, -- 0 = kept for ever
	delete_at BIGINT NOT NULL,
	logical_bytes BIGINT NOT NULL,
	stored_bytes BIGINT NOT NULL,
	unique_bytes BIGINT, -- what deleting it alone would free, once computed
	store_id TEXT NOT NULL, -- the store's name for it; empty while CREATING
	metadata TEXT NOT NULL, -- JSON map: what a restore is started with
	source_tags TEXT NOT NULL, -- JSON map: tags of the resource when it was backed up
	PRIMARY KEY (vault_uuid, arn)
);
CREATE INDEX recovery_point_newest ON recovery_point (vault_uuid, created_at, arn);
CREATE INDEX recovery_point_vault_resource ON recovery_point (vault_uuid, resource_arn, created_at, arn);
CREATE INDEX recovery_point_resource ON recovery_point (account, region, resource_arn, created_at, arn, vault_uuid);
CREATE INDEX recovery_point_account ON recovery_point (account, region, created_at, arn, vault_uuid);
CREATE INDEX recovery_point_arn ON recovery_point (account, arn);
CREATE INDEX recovery_point_due ON recovery_point (status, delete_at) WHERE delete_at > 0;
CREATE INDEX recovery_point_deleting ON recovery_point (vault_uuid, status_at, arn) WHERE status = 'DELETING';
