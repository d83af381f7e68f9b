CREATE TABLE task (
    id             TEXT NOT NULL PRIMARY KEY,
    account        TEXT NOT NULL,
    region         TEXT NOT NULL,
    vault_uuid     TEXT NOT NULL,
    vault_name     TEXT NOT NULL,
    kind           TEXT NOT NULL,
    level          BIGINT NOT NULL, -- of a verification
    state          TEXT NOT NULL,
    status_message TEXT NOT NULL,
    done           BIGINT NOT NULL, -- bytes
    total          BIGINT NOT NULL, -- bytes, 0 while unknown
    report         TEXT NOT NULL,   -- JSON object of strings
    created_at     BIGINT NOT NULL,
    completed_at   BIGINT NOT NULL, -- 0 while it runs
    lease_until    BIGINT NOT NULL  -- database clock; 0 = no worker has it
);

CREATE INDEX task_running ON task (state, lease_until);
