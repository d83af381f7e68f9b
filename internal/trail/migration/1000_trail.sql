-- API calls, one row each. Accounts are those that the calls are shown to.
CREATE TABLE trail_event (
	account TEXT NOT NULL,
	at BIGINT NOT NULL, -- when the request came
	id TEXT NOT NULL,
	event_name TEXT NOT NULL,
	user_name TEXT NOT NULL, -- of the user, or of the role session; '' = unknown
	access_key_id TEXT NOT NULL, -- as claimed
	error_code TEXT NOT NULL, -- '' = success
	read_only BOOLEAN NOT NULL,
	record TEXT NOT NULL, -- JSON
	PRIMARY KEY (account, at, id)
);
CREATE INDEX trail_event_name ON trail_event (account, event_name, at, id);
CREATE INDEX trail_event_user ON trail_event (account, user_name, at, id);
CREATE INDEX trail_event_error ON trail_event (account, at, id) WHERE error_code <> '';
CREATE INDEX trail_event_change ON trail_event (account, at, id) WHERE NOT read_only;

-- The resources of a call, which its record lists, too.
CREATE TABLE trail_resource (
	account TEXT NOT NULL,
	arn TEXT NOT NULL,
	at BIGINT NOT NULL,
	id TEXT NOT NULL,
	PRIMARY KEY (account, arn, at, id)
);
