CREATE TABLE ledger_vault (
	vault TEXT PRIMARY KEY,
	identity BLOB NOT NULL,
	epoch BIGINT NOT NULL,
	revision BIGINT NOT NULL -- of objects, raised by every transaction that changes some
);

CREATE TABLE ledger_session (
	id TEXT PRIMARY KEY,
	vault TEXT NOT NULL REFERENCES ledger_vault (vault),
	kind BIGINT NOT NULL,
	state BIGINT NOT NULL,
	job TEXT NOT NULL,
	pin TEXT NOT NULL, -- a point's id, or empty
	opened BIGINT NOT NULL, -- epochs
	acked BIGINT NOT NULL,
	pins BLOB,
	lease_until BIGINT NOT NULL,
	keep_until BIGINT NOT NULL -- of a fenced session: earliest time to forget it
);

CREATE INDEX ledger_session_vault ON ledger_session (vault, state);

CREATE TABLE ledger_object (
	vault TEXT NOT NULL REFERENCES ledger_vault (vault),
	id BLOB NOT NULL,
	kind BIGINT NOT NULL,
	state BIGINT NOT NULL,
	session TEXT NOT NULL, -- that reserved it; its row may be gone
	size BIGINT NOT NULL,
	epoch BIGINT NOT NULL,
	remap BLOB,
	revision BIGINT NOT NULL,
	PRIMARY KEY (vault, id)
);

CREATE INDEX ledger_object_revision ON ledger_object (vault, revision);
CREATE INDEX ledger_object_session ON ledger_object (session) WHERE state = 1;

CREATE TABLE ledger_point (
	vault TEXT NOT NULL REFERENCES ledger_vault (vault),
	id TEXT NOT NULL,
	deleting BOOLEAN NOT NULL,
	PRIMARY KEY (vault, id)
);
