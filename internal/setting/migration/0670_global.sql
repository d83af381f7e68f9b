-- Settings of all accounts together, which the management account makes. One without a row is "false".
CREATE TABLE setting_global (
	name TEXT PRIMARY KEY,
	value TEXT NOT NULL,
	updated_at BIGINT NOT NULL -- microseconds
);
