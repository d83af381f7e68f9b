-- The rule of a backup plan that a recovery point was made by.
ALTER TABLE recovery_point ADD COLUMN created_by TEXT NOT NULL DEFAULT ''; -- JSON, see RecoveryPointCreator; empty for none
ALTER TABLE recovery_point ADD COLUMN plan_id TEXT NOT NULL DEFAULT '';
CREATE INDEX recovery_point_plan ON recovery_point (vault_uuid, plan_id, created_at, arn) WHERE plan_id <> '';
