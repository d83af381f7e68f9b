-- A row stands here while the database is being built from a store: what is in it is not whole.
CREATE TABLE ledger_rebuild (
	started_at BIGINT NOT NULL
);
