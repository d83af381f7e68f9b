-- How often a job was put off because something that it needs was away.
ALTER TABLE backup_job ADD COLUMN retries BIGINT NOT NULL DEFAULT 0;
