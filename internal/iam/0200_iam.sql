CREATE TABLE iam_user (
	account TEXT NOT NULL,
	name TEXT NOT NULL,
	user_id TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	PRIMARY KEY (account, name)
);

CREATE TABLE iam_access_key (
	id TEXT PRIMARY KEY,
	account TEXT NOT NULL,
	user_name TEXT NOT NULL,
	secret BLOB NOT NULL, -- wrapped, bound to the id
	active BOOLEAN NOT NULL,
	created_at BIGINT NOT NULL,
	FOREIGN KEY (account, user_name) REFERENCES iam_user (account, name)
);

CREATE INDEX iam_access_key_user ON iam_access_key (account, user_name);
