-- What backup jobs have that a rule of a backup plan made.
ALTER TABLE backup_job ADD COLUMN created_by TEXT NOT NULL DEFAULT ''; -- JSON, see RecoveryPointCreator; empty for other jobs
ALTER TABLE backup_job ADD COLUMN not_before BIGINT NOT NULL DEFAULT 0; -- it waits until then; 0 once it may start
ALTER TABLE backup_job ADD COLUMN completion_window BIGINT NOT NULL DEFAULT 0; -- microseconds from the start; 0 = expire_by is fixed
ALTER TABLE backup_job ADD COLUMN copy_actions TEXT NOT NULL DEFAULT ''; -- JSON list, see CopyAction; empty for none
CREATE INDEX backup_job_later ON backup_job (not_before) WHERE not_before > 0;
