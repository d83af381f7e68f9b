-- What somebody found out about what a restore made; empty until then.
ALTER TABLE restore_job ADD COLUMN validation_status TEXT NOT NULL DEFAULT '';
ALTER TABLE restore_job ADD COLUMN validation_message TEXT NOT NULL DEFAULT '';
