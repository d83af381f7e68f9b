-- Accounts that are older than roles and policies get theirs at the next start, once.
ALTER TABLE iam_account ADD COLUMN complete BOOLEAN NOT NULL DEFAULT FALSE;
