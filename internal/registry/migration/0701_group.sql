-- Groups are resources of type CloudFormation, without a path.
ALTER TABLE resource ADD COLUMN members TEXT NOT NULL DEFAULT '[]'; -- JSON array of Member
