-- API calls that may change something, one row each. Accounts are those that the calls are shown to.
CREATE TABLE trail_event (
	account TEXT NOT NULL,
	at BIGINT NOT NULL, -- when the request came
	id TEXT NOT NULL,
	event_name TEXT NOT NULL,
	user_name TEXT NOT NULL, -- of the user, or of the role session; '' = unknown
	access_key_id TEXT NOT NULL, -- as claimed
	error_code TEXT NOT NULL, -- '' = success
	record TEXT NOT NULL, -- JSON
	PRIMARY KEY (account, at, id)
);
CREATE INDEX trail_event_name ON trail_event (account, event_name, at, id);
CREATE INDEX trail_event_user ON trail_event (account, user_name, at, id);
CREATE INDEX trail_event_error ON trail_event (account, at, id) WHERE error_code <> '';

-- The resources of such a call, which its record lists, too.
CREATE TABLE trail_resource (
	account TEXT NOT NULL,
	arn TEXT NOT NULL,
	at BIGINT NOT NULL,
	id TEXT NOT NULL,
	PRIMARY KEY (account, arn, at, id)
);

-- API calls that only read, many in a row. No two calls of a row are further apart than a second.
CREATE TABLE trail_segment (
	account TEXT NOT NULL,
	last_at BIGINT NOT NULL, -- when the last request came
	id TEXT NOT NULL,
	first_at BIGINT NOT NULL, -- when the first request came
	calls BIGINT NOT NULL,
	failed BIGINT NOT NULL, -- how many of the calls
	data BLOB NOT NULL, -- zstd: a line per call, of the time, the id and the JSON of the record
	PRIMARY KEY (account, last_at, id)
);
CREATE INDEX trail_segment_failed ON trail_segment (account, last_at, id) WHERE failed > 0;
