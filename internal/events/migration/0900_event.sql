-- What happened, in the transaction that made it happen. The document holds all; the other columns are to find it by.
CREATE TABLE event (
	id TEXT PRIMARY KEY, -- grows with the time of its making
	account TEXT NOT NULL,
	region TEXT NOT NULL,
	at BIGINT NOT NULL,
	type TEXT NOT NULL,
	vault_event TEXT NOT NULL, -- empty if it is none of a vault's events
	vault_name TEXT NOT NULL,
	point_arn TEXT NOT NULL,
	document TEXT NOT NULL -- JSON
);
CREATE INDEX event_newest ON event (account, region, at, id);
CREATE INDEX event_vault ON event (account, region, vault_name, at, id);
CREATE INDEX event_point ON event (account, region, point_arn, at, id);
CREATE INDEX event_age ON event (at);
