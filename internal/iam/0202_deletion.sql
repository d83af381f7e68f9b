-- Deletions of service-linked roles, which are asked for by the id of their task.
CREATE TABLE iam_role_deletion (
	account TEXT NOT NULL,
	task_id TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	PRIMARY KEY (account, task_id)
);
