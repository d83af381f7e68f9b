-- The journal of recovery points announced, committed and removed, a chain of hashes; see docs/format.md section 13.
CREATE TABLE ledger_journal (
	vault TEXT NOT NULL REFERENCES ledger_vault (vault),
	number BIGINT NOT NULL,
	kind BIGINT NOT NULL,
	id BLOB NOT NULL,
	hash BLOB NOT NULL,
	PRIMARY KEY (vault, number)
);

-- Its last entry; 0 and NULL where there is none yet.
ALTER TABLE ledger_vault ADD COLUMN journal BIGINT NOT NULL DEFAULT 0;
ALTER TABLE ledger_vault ADD COLUMN journal_hash BLOB;
