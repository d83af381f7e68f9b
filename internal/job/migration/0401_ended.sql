-- Jobs that have ended, for the sweep that forgets old ones.
CREATE INDEX backup_job_ended ON backup_job (completed_at) WHERE completed_at > 0;
CREATE INDEX restore_job_ended ON restore_job (completed_at) WHERE completed_at > 0;
