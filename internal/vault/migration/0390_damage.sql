-- What verifications found that cannot be restored of a recovery point.
ALTER TABLE recovery_point ADD COLUMN damaged_at BIGINT NOT NULL DEFAULT 0; -- when it was found first; 0 = nothing is known to be damaged
ALTER TABLE recovery_point ADD COLUMN damage TEXT NOT NULL DEFAULT '';      -- JSON, see vault.Damage; empty without damage
CREATE INDEX recovery_point_damaged ON recovery_point (vault_uuid, arn) WHERE damaged_at <> 0;
