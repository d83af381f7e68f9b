-- For lists by one of these alone, of which few jobs or none may be.
CREATE INDEX backup_job_type ON backup_job (account, region, resource_type, created_at, id);
CREATE INDEX backup_job_category ON backup_job (account, region, message_category, created_at, id);
CREATE INDEX restore_job_type ON restore_job (account, region, resource_type, created_at, id);
CREATE INDEX copy_job_type ON copy_job (account, region, resource_type, created_at, id);
CREATE INDEX copy_job_category ON copy_job (account, region, message_category, created_at, id);
CREATE INDEX copy_job_vault ON copy_job (account, region, vault_arn, created_at, id);
CREATE INDEX copy_job_point ON copy_job (account, region, source_point_arn, created_at, id);
