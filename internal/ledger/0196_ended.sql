-- Recovery points that were removed, and writers without one that were forgotten: what comes late to the store under their
-- ids is known to be left over.
CREATE TABLE ledger_ended (
	vault TEXT NOT NULL REFERENCES ledger_vault (vault),
	id TEXT NOT NULL,
	ended BIGINT NOT NULL, -- time
	PRIMARY KEY (vault, id)
);
