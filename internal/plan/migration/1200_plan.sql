-- plan_partition counts the live plans of an account in a region, for the quota; its
-- row is the lock under which plans are made and removed.
CREATE TABLE plan_partition (
	account TEXT NOT NULL,
	region TEXT NOT NULL,
	plans BIGINT NOT NULL,
	PRIMARY KEY (account, region)
);

-- Times are 0 where there is none.
CREATE TABLE plan (
	id TEXT PRIMARY KEY,
	account TEXT NOT NULL,
	region TEXT NOT NULL,
	name TEXT NOT NULL,
	version TEXT NOT NULL, -- the current one
	digest TEXT NOT NULL, -- of the current document
	creator_request_id TEXT NOT NULL,
	request TEXT NOT NULL, -- digest of what it was created with
	created_at BIGINT NOT NULL,
	deleted_at BIGINT NOT NULL,
	executed_at BIGINT NOT NULL -- when a rule last fired
);
CREATE INDEX plan_newest ON plan (account, region, created_at, id);
CREATE INDEX plan_digest ON plan (account, region, digest);
CREATE INDEX plan_creator ON plan (account, region, creator_request_id);

CREATE TABLE plan_version (
	plan_id TEXT NOT NULL REFERENCES plan (id),
	version TEXT NOT NULL,
	number BIGINT NOT NULL, -- from 1
	document TEXT NOT NULL, -- JSON, as the API shows it
	created_at BIGINT NOT NULL,
	PRIMARY KEY (plan_id, version)
);
CREATE UNIQUE INDEX plan_version_number ON plan_version (plan_id, number);

-- The rules of the current versions of live plans, and when they fire next.
CREATE TABLE plan_rule (
	plan_id TEXT NOT NULL REFERENCES plan (id),
	rule_id TEXT NOT NULL,
	schedule TEXT NOT NULL,
	timezone TEXT NOT NULL,
	next_at BIGINT NOT NULL, -- 0 = never again
	PRIMARY KEY (plan_id, rule_id)
);
CREATE INDEX plan_rule_due ON plan_rule (next_at) WHERE next_at > 0;

CREATE TABLE plan_selection (
	id TEXT PRIMARY KEY,
	plan_id TEXT NOT NULL REFERENCES plan (id),
	name TEXT NOT NULL,
	document TEXT NOT NULL, -- JSON, as the API shows it
	creator_request_id TEXT NOT NULL,
	request TEXT NOT NULL,
	created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX plan_selection_name ON plan_selection (plan_id, name);
