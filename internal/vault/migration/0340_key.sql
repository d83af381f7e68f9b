ALTER TABLE vault ADD COLUMN key_arn TEXT NOT NULL DEFAULT ''; -- of the KMS key that wraps the vault's key; empty: the root key does
ALTER TABLE vault ADD COLUMN customer_key BOOLEAN NOT NULL DEFAULT FALSE; -- whether the account's users manage that key
CREATE INDEX vault_key ON vault (key_arn, name);
