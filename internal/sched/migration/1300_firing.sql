-- A rule that has fired and whose jobs are still being made, in the order of the resources' ARNs.
CREATE TABLE sched_firing (
	plan_id TEXT NOT NULL,
	rule_id TEXT NOT NULL,
	at BIGINT NOT NULL, -- as scheduled
	account TEXT NOT NULL,
	region TEXT NOT NULL,
	version TEXT NOT NULL, -- of the plan
	after_arn TEXT NOT NULL, -- resources up to this one are done
	PRIMARY KEY (plan_id, rule_id, at)
);
