-- Copies of recovery points into other vaults. vault_uuid and vault_arn are of the vault that receives the copy, which may
-- be in another region.
CREATE TABLE copy_job (
	id TEXT PRIMARY KEY,
	account TEXT NOT NULL,
	region TEXT NOT NULL,
	source_vault_uuid TEXT NOT NULL,
	source_vault_arn TEXT NOT NULL,
	source_point_arn TEXT NOT NULL,
	vault_uuid TEXT NOT NULL,
	vault_arn TEXT NOT NULL,
	point_arn TEXT NOT NULL, -- of the copy
	resource_arn TEXT NOT NULL,
	resource_type TEXT NOT NULL,
	resource_name TEXT NOT NULL,
	role_arn TEXT NOT NULL,
	delete_after_days BIGINT NOT NULL, -- 0 = kept for ever
	size_bytes BIGINT NOT NULL,
	state TEXT NOT NULL,
	status_message TEXT NOT NULL,
	message_category TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	expire_by BIGINT NOT NULL,
	started_at BIGINT NOT NULL,
	completed_at BIGINT NOT NULL,
	items BIGINT NOT NULL,
	bytes_read BIGINT NOT NULL,
	bytes_stored BIGINT NOT NULL,
	total_bytes BIGINT NOT NULL,
	skipped BIGINT NOT NULL,
	attempts BIGINT NOT NULL,
	lease TEXT NOT NULL,
	lease_until BIGINT NOT NULL
);
CREATE INDEX copy_job_newest ON copy_job (account, region, created_at, id);
CREATE INDEX copy_job_state ON copy_job (account, region, state, created_at, id);
CREATE INDEX copy_job_resource ON copy_job (account, region, resource_arn, created_at, id);
CREATE INDEX copy_job_source ON copy_job (account, source_point_arn) WHERE state IN ('CREATED', 'RUNNING');
CREATE INDEX copy_job_waiting ON copy_job (account, resource_arn, created_at, id) WHERE state IN ('CREATED', 'RUNNING');
CREATE INDEX copy_job_lease ON copy_job (lease_until) WHERE state IN ('CREATED', 'RUNNING');
CREATE INDEX copy_job_ended ON copy_job (completed_at) WHERE completed_at > 0;

-- A resource has one backup or copy at a time: a row is there as long as the job runs.
CREATE TABLE job_turn (
	account TEXT NOT NULL,
	resource_arn TEXT NOT NULL,
	job_id TEXT NOT NULL,
	PRIMARY KEY (account, resource_arn)
);
CREATE INDEX job_turn_job ON job_turn (job_id);
INSERT INTO job_turn (account, resource_arn, job_id)
	SELECT account, resource_arn, id FROM backup_job WHERE state IN ('RUNNING', 'ABORTING');
