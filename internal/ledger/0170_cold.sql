-- When a cold pack was registered; 0 for other objects.
ALTER TABLE ledger_object ADD COLUMN registered BIGINT NOT NULL DEFAULT 0;
