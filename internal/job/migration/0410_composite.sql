-- The backup of a group is a parent job, which has a child job for each member.
ALTER TABLE backup_job ADD COLUMN is_parent BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE backup_job ADD COLUMN parent_job TEXT NOT NULL DEFAULT ''; -- id; empty for a job that is nobody's child
ALTER TABLE backup_job ADD COLUMN parent_point TEXT NOT NULL DEFAULT ''; -- ARN of the recovery point of that job
ALTER TABLE backup_job ADD COLUMN member TEXT NOT NULL DEFAULT ''; -- name of the resource in the group
CREATE INDEX backup_job_parent ON backup_job (parent_job, created_at, id);
