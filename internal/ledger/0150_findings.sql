CREATE TABLE ledger_damage (
	vault TEXT NOT NULL REFERENCES ledger_vault (vault),
	object TEXT NOT NULL, -- name in the store
	slot BIGINT NOT NULL, -- of a pack; -1 = the whole object
	pack BLOB NOT NULL,   -- zeros for what is not a pack
	reason TEXT NOT NULL,
	found_at BIGINT NOT NULL,
	PRIMARY KEY (vault, object, slot)
);

CREATE TABLE ledger_verified (
	vault TEXT NOT NULL REFERENCES ledger_vault (vault),
	pack BLOB NOT NULL,
	level BIGINT NOT NULL,
	verified_at BIGINT NOT NULL,
	PRIMARY KEY (vault, pack, level)
);
