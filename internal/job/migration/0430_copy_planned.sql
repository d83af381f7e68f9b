-- Copies that rules of backup plans want, and copies of groups: a parent job has a child job for each member.
ALTER TABLE copy_job ADD COLUMN created_by TEXT NOT NULL DEFAULT ''; -- JSON, see RecoveryPointCreator; empty for other jobs
ALTER TABLE copy_job ADD COLUMN created_by_job TEXT NOT NULL DEFAULT ''; -- id of the backup job that the rule made
ALTER TABLE copy_job ADD COLUMN is_parent BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE copy_job ADD COLUMN parent_job TEXT NOT NULL DEFAULT ''; -- id; empty for a job that is nobody's child
ALTER TABLE copy_job ADD COLUMN parent_point TEXT NOT NULL DEFAULT ''; -- ARN of the copy that the parent makes
ALTER TABLE copy_job ADD COLUMN member TEXT NOT NULL DEFAULT ''; -- name of the resource in the group
ALTER TABLE copy_job ADD COLUMN held BOOLEAN NOT NULL DEFAULT FALSE; -- it waits until its parent has begun
CREATE INDEX copy_job_parent ON copy_job (parent_job, created_at, id);
