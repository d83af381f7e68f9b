-- Number of the claim in the store that was read last and carries the identity.
ALTER TABLE ledger_vault ADD COLUMN claim BIGINT NOT NULL DEFAULT 0;
