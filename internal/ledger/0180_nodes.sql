-- Retired objects that were forgotten stay as rows of state 5, for the nodes that have yet to learn it; those of
-- revisions up to the horizon are gone.
ALTER TABLE ledger_vault ADD COLUMN horizon BIGINT NOT NULL DEFAULT 0;

-- How often something may have become free, and how often when the last whole reclaim began.
ALTER TABLE ledger_vault ADD COLUMN freed BIGINT NOT NULL DEFAULT 0;
ALTER TABLE ledger_vault ADD COLUMN reclaimed BIGINT NOT NULL DEFAULT 0;
