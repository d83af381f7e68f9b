-- Times are 0 where there is none. Those of cold_until are of the real clock, not of the policy's.
ALTER TABLE recovery_point ADD COLUMN cold_after_days BIGINT NOT NULL DEFAULT 0; -- 0 = never moved to cold storage
ALTER TABLE recovery_point ADD COLUMN cold_at BIGINT NOT NULL DEFAULT 0; -- when the move is due
ALTER TABLE recovery_point ADD COLUMN cold_since BIGINT NOT NULL DEFAULT 0; -- when it was moved; 0 = it is warm
ALTER TABLE recovery_point ADD COLUMN cold_claim TEXT NOT NULL DEFAULT ''; -- of who moves it; empty = nobody
ALTER TABLE recovery_point ADD COLUMN cold_until BIGINT NOT NULL DEFAULT 0; -- end of the claim, or of the pause after a failure
ALTER TABLE recovery_point ADD COLUMN cold_tries BIGINT NOT NULL DEFAULT 0; -- moves that have failed
ALTER TABLE recovery_point ADD COLUMN warm_store_id TEXT NOT NULL DEFAULT ''; -- the store's name for it before the move, as long as that is there
CREATE INDEX recovery_point_cold ON recovery_point (cold_at) WHERE cold_at > 0 AND cold_since = 0;
CREATE INDEX recovery_point_warm_store ON recovery_point (vault_uuid, arn) WHERE warm_store_id <> '';
