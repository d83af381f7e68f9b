CREATE TABLE kms_key (
	id TEXT PRIMARY KEY,
	account TEXT NOT NULL,
	region TEXT NOT NULL,
	manager TEXT NOT NULL, -- CUSTOMER, or AWS for those that are made on first need
	description TEXT NOT NULL,
	state TEXT NOT NULL,
	policy TEXT NOT NULL,
	policy_ids TEXT NOT NULL, -- JSON map: ARN of a principal -> its unique id when the policy was put
	created_at BIGINT NOT NULL,
	version BIGINT NOT NULL, -- the one that encrypts
	rotation_days BIGINT NOT NULL, -- 0 = it is not rotated by itself
	rotate_at BIGINT NOT NULL, -- 0 = never
	window_days BIGINT NOT NULL,
	delete_at BIGINT NOT NULL -- 0 = never
);
CREATE INDEX kms_key_list ON kms_key (account, region, id);
CREATE INDEX kms_key_delete ON kms_key (delete_at) WHERE delete_at > 0;
CREATE INDEX kms_key_rotate ON kms_key (rotate_at) WHERE rotate_at > 0;

CREATE TABLE kms_key_version (
	key_id TEXT NOT NULL REFERENCES kms_key (id),
	version BIGINT NOT NULL,
	material BLOB NOT NULL, -- wrapped by the root key
	created_at BIGINT NOT NULL,
	PRIMARY KEY (key_id, version)
);

CREATE TABLE kms_alias (
	account TEXT NOT NULL,
	region TEXT NOT NULL,
	name TEXT NOT NULL, -- with alias/
	key_id TEXT NOT NULL REFERENCES kms_key (id),
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	PRIMARY KEY (account, region, name)
);
CREATE INDEX kms_alias_key ON kms_alias (key_id, name);

CREATE TABLE kms_tag (
	key_id TEXT NOT NULL REFERENCES kms_key (id),
	name TEXT NOT NULL,
	value TEXT NOT NULL,
	PRIMARY KEY (key_id, name)
);
