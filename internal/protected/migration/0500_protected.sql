-- A resource that has recovery points: once for each vault, and once for all
-- vaults of the region together, where vault_uuid is ''.
CREATE TABLE protected_resource (
    account        TEXT NOT NULL,
    region         TEXT NOT NULL,
    vault_uuid     TEXT NOT NULL,
    arn            TEXT NOT NULL,
    type           TEXT NOT NULL,
    name           TEXT NOT NULL,
    last_backup_at BIGINT NOT NULL,
    last_vault_arn TEXT NOT NULL,
    last_point_arn TEXT NOT NULL,
    PRIMARY KEY (account, region, vault_uuid, arn)
);
