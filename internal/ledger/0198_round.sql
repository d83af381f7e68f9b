-- The daily look at all objects of a vault: how far it is, and who goes on with it.
CREATE TABLE ledger_round (
	vault TEXT NOT NULL PRIMARY KEY REFERENCES ledger_vault (vault),
	began_at BIGINT NOT NULL,
	place TEXT NOT NULL,
	finished BOOLEAN NOT NULL,
	holder BLOB NOT NULL,
	held_until BIGINT NOT NULL
);

-- When damage was last recorded; 0 = before this was kept.
ALTER TABLE ledger_damage ADD COLUMN seen_at BIGINT NOT NULL DEFAULT 0;
