-- The backup of a group is a parent, which has no data, with a child for each member.
ALTER TABLE recovery_point ADD COLUMN is_parent BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE recovery_point ADD COLUMN parent_arn TEXT NOT NULL DEFAULT ''; -- in the same vault; empty for what is nobody's child
ALTER TABLE recovery_point ADD COLUMN member_id TEXT NOT NULL DEFAULT ''; -- name of the resource in the group
CREATE INDEX recovery_point_parent ON recovery_point (vault_uuid, parent_arn, created_at, arn);
