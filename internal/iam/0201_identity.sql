-- Names keep their case and are unique whatever the case. Paths begin and end with a slash.
CREATE TABLE iam_account (
	id TEXT PRIMARY KEY,
	created_at BIGINT NOT NULL
);

INSERT INTO iam_account (id, created_at) SELECT account, MIN(created_at) FROM iam_user GROUP BY account;

ALTER TABLE iam_user ADD COLUMN path TEXT NOT NULL DEFAULT '/';
ALTER TABLE iam_user ADD COLUMN boundary TEXT NOT NULL DEFAULT ''; -- ARN of a managed policy
ALTER TABLE iam_user ADD COLUMN administrator BOOLEAN NOT NULL DEFAULT FALSE; -- the one that the account began with

UPDATE iam_user SET administrator = TRUE;

CREATE UNIQUE INDEX iam_user_name ON iam_user (account, lower(name));
CREATE INDEX iam_user_user_id ON iam_user (user_id);

ALTER TABLE iam_access_key ADD COLUMN used_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE iam_access_key ADD COLUMN used_region TEXT NOT NULL DEFAULT '';
ALTER TABLE iam_access_key ADD COLUMN used_service TEXT NOT NULL DEFAULT '';

CREATE TABLE iam_group (
	account TEXT NOT NULL,
	name TEXT NOT NULL,
	path TEXT NOT NULL,
	group_id TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	PRIMARY KEY (account, name)
);

CREATE UNIQUE INDEX iam_group_name ON iam_group (account, lower(name));

CREATE TABLE iam_membership (
	account TEXT NOT NULL,
	group_name TEXT NOT NULL,
	user_name TEXT NOT NULL,
	PRIMARY KEY (account, group_name, user_name)
);

CREATE INDEX iam_membership_user ON iam_membership (account, user_name);

CREATE TABLE iam_role (
	account TEXT NOT NULL,
	name TEXT NOT NULL,
	path TEXT NOT NULL,
	role_id TEXT NOT NULL,
	trust TEXT NOT NULL, -- document
	trust_ids TEXT NOT NULL, -- JSON: ARN of a principal -> its unique id when the document was put
	description TEXT NOT NULL,
	max_session BIGINT NOT NULL, -- seconds
	boundary TEXT NOT NULL,
	service TEXT NOT NULL, -- of a service-linked role, else empty
	used_at BIGINT NOT NULL,
	used_region TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	PRIMARY KEY (account, name)
);

CREATE UNIQUE INDEX iam_role_name ON iam_role (account, lower(name));

-- Managed policies of the accounts. Those of AWS are part of the program.
CREATE TABLE iam_policy (
	arn TEXT PRIMARY KEY,
	account TEXT NOT NULL,
	name TEXT NOT NULL,
	path TEXT NOT NULL,
	policy_id TEXT NOT NULL,
	description TEXT NOT NULL,
	default_version BIGINT NOT NULL,
	next_version BIGINT NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL
);

CREATE UNIQUE INDEX iam_policy_name ON iam_policy (account, lower(name));

CREATE TABLE iam_policy_version (
	arn TEXT NOT NULL,
	version BIGINT NOT NULL,
	document TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	PRIMARY KEY (arn, version)
);

-- kind is user, group or role; entity is its name.
CREATE TABLE iam_attachment (
	account TEXT NOT NULL,
	kind TEXT NOT NULL,
	entity TEXT NOT NULL,
	policy_arn TEXT NOT NULL,
	PRIMARY KEY (account, kind, entity, policy_arn)
);

CREATE INDEX iam_attachment_policy ON iam_attachment (account, policy_arn, kind, entity);

CREATE TABLE iam_inline_policy (
	account TEXT NOT NULL,
	kind TEXT NOT NULL,
	entity TEXT NOT NULL,
	name TEXT NOT NULL,
	document TEXT NOT NULL,
	PRIMARY KEY (account, kind, entity, name)
);

-- kind is user, role or policy; entity is its name.
CREATE TABLE iam_tag (
	account TEXT NOT NULL,
	kind TEXT NOT NULL,
	entity TEXT NOT NULL,
	key TEXT NOT NULL,
	value TEXT NOT NULL,
	PRIMARY KEY (account, kind, entity, key)
);

CREATE TABLE iam_instance_profile (
	account TEXT NOT NULL,
	name TEXT NOT NULL,
	path TEXT NOT NULL,
	profile_id TEXT NOT NULL,
	role_name TEXT NOT NULL, -- empty if it has none
	created_at BIGINT NOT NULL,
	PRIMARY KEY (account, name)
);

CREATE UNIQUE INDEX iam_instance_profile_name ON iam_instance_profile (account, lower(name));

-- Grows with every change of what anybody may do, in the transaction of the change, so that nodes know when to read again.
CREATE TABLE iam_epoch (
	id BIGINT PRIMARY KEY,
	epoch BIGINT NOT NULL
);

INSERT INTO iam_epoch (id, epoch) VALUES (1, 1);
