-- Settings of an account in a region for types of resources. A type without a row is enabled.
CREATE TABLE setting_region (
	account TEXT NOT NULL,
	region TEXT NOT NULL,
	kind TEXT NOT NULL, -- OPT_IN or MANAGEMENT
	type TEXT NOT NULL,
	enabled BOOLEAN NOT NULL,
	PRIMARY KEY (account, region, kind, type)
);
