-- The virtual clock of policy, on a server that was started with one: how far it is ahead of real time. One row or none.
CREATE TABLE setting_clock (
	id BIGINT PRIMARY KEY,
	ahead BIGINT NOT NULL -- microseconds, may be negative
);
