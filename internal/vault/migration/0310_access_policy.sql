ALTER TABLE vault ADD COLUMN access_policy TEXT NOT NULL DEFAULT '';
ALTER TABLE vault ADD COLUMN access_policy_ids TEXT NOT NULL DEFAULT '{}'; -- ARN of a principal -> its unique id when the policy was put
