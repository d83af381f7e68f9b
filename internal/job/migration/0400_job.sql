-- Jobs. Times are 0 where there is none. lease names the worker that a running job
-- belongs to; lease_until is when that worker counts as lost, and, for a job that no
-- worker has, when it is enqueued once more.
CREATE TABLE backup_job (
	id TEXT PRIMARY KEY,
	account TEXT NOT NULL,
	region TEXT NOT NULL,
	vault_uuid TEXT NOT NULL,
	vault_name TEXT NOT NULL,
	resource_arn TEXT NOT NULL,
	resource_type TEXT NOT NULL,
	resource_name TEXT NOT NULL,
	role_arn TEXT NOT NULL,
	point_arn TEXT NOT NULL,
	delete_after_days BIGINT NOT NULL, -- 0 = kept for ever
	tags TEXT NOT NULL, -- JSON map
	state TEXT NOT NULL,
	status_message TEXT NOT NULL,
	message_category TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	start_by BIGINT NOT NULL,
	expire_by BIGINT NOT NULL,
	started_at BIGINT NOT NULL,
	completed_at BIGINT NOT NULL,
	items BIGINT NOT NULL,
	bytes_read BIGINT NOT NULL,
	bytes_stored BIGINT NOT NULL,
	total_bytes BIGINT NOT NULL, -- 0 = unknown
	skipped BIGINT NOT NULL, -- may be more than job_skip lists
	attempts BIGINT NOT NULL,
	lease TEXT NOT NULL,
	lease_until BIGINT NOT NULL
);
CREATE INDEX backup_job_newest ON backup_job (account, region, created_at, id);
CREATE INDEX backup_job_state ON backup_job (account, region, state, created_at, id);
CREATE INDEX backup_job_resource ON backup_job (account, region, resource_arn, created_at, id);
CREATE INDEX backup_job_vault ON backup_job (account, region, vault_name, created_at, id);
-- A resource has one backup at a time.
CREATE UNIQUE INDEX backup_job_running ON backup_job (account, resource_arn) WHERE state IN ('RUNNING', 'ABORTING');
CREATE INDEX backup_job_waiting ON backup_job (account, resource_arn, created_at, id) WHERE state = 'CREATED';
CREATE INDEX backup_job_lease ON backup_job (lease_until) WHERE state IN ('CREATED', 'RUNNING', 'ABORTING');

CREATE TABLE restore_job (
	id TEXT PRIMARY KEY,
	account TEXT NOT NULL,
	region TEXT NOT NULL,
	vault_uuid TEXT NOT NULL,
	vault_name TEXT NOT NULL,
	point_arn TEXT NOT NULL,
	point_created_at BIGINT NOT NULL,
	source_arn TEXT NOT NULL,
	resource_type TEXT NOT NULL,
	role_arn TEXT NOT NULL,
	size_bytes BIGINT NOT NULL,
	metadata TEXT NOT NULL, -- JSON map, as the client sent it
	target TEXT NOT NULL, -- JSON, see Target
	created_resource_arn TEXT NOT NULL,
	created_path TEXT NOT NULL,
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
CREATE INDEX restore_job_newest ON restore_job (account, region, created_at, id);
CREATE INDEX restore_job_state ON restore_job (account, region, state, created_at, id);
CREATE INDEX restore_job_source ON restore_job (account, region, source_arn, created_at, id);
CREATE INDEX restore_job_point ON restore_job (account, point_arn) WHERE state IN ('PENDING', 'RUNNING');
CREATE INDEX restore_job_lease ON restore_job (lease_until) WHERE state IN ('PENDING', 'RUNNING');

-- What a job left out.
CREATE TABLE job_skip (
	job_id TEXT NOT NULL,
	n BIGINT NOT NULL,
	path BLOB NOT NULL,
	reason TEXT NOT NULL,
	PRIMARY KEY (job_id, n)
);

-- Idempotency tokens with the job that the first request started.
CREATE TABLE job_token (
	account TEXT NOT NULL,
	region TEXT NOT NULL,
	operation TEXT NOT NULL,
	token TEXT NOT NULL,
	fingerprint TEXT NOT NULL,
	job_id TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	PRIMARY KEY (account, operation, token, region)
);
CREATE INDEX job_token_age ON job_token (created_at);
