ALTER TABLE task ADD COLUMN began_at BIGINT NOT NULL DEFAULT 0; -- database clock
