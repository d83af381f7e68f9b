-- After how many days the recovery point that the job makes is moved to cold storage; 0 = never.
ALTER TABLE backup_job ADD COLUMN cold_after_days BIGINT NOT NULL DEFAULT 0;
ALTER TABLE copy_job ADD COLUMN cold_after_days BIGINT NOT NULL DEFAULT 0;
