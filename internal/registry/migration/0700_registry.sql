CREATE TABLE resource (
    account    TEXT NOT NULL,
    region     TEXT NOT NULL,
    arn        TEXT NOT NULL,
    type       TEXT NOT NULL,
    name       TEXT NOT NULL,
    path       TEXT NOT NULL,
    tags       TEXT NOT NULL,    -- JSON object
    origin     TEXT NOT NULL,    -- FILE or API
    present    BOOLEAN NOT NULL, -- false for what went out of the configuration file
    created_at BIGINT NOT NULL,
    PRIMARY KEY (account, region, arn)
);
