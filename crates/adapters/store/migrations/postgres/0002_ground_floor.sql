-- The same as in the folder for SQLite, whose comments hold here too; a test compares the results.

-- Replicas and connections.

CREATE TABLE replica (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    version TEXT COLLATE "C" NOT NULL,
    started_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL
);

-- Certificates, pins and keys.

-- People, sessions and access keys.

-- Sealed audit records.

-- Live output.

-- What steps have written while they run, in pieces; gone when their results are there. Positions count bytes: stream_* of
-- what the step wrote, text_from of the text that was made of it.
CREATE TABLE live_output (
    account TEXT COLLATE "C" NOT NULL,
    region TEXT COLLATE "C" NOT NULL,
    command_id TEXT COLLATE "C" NOT NULL,
    node_id TEXT COLLATE "C" NOT NULL,
    step TEXT COLLATE "C" NOT NULL,
    stream TEXT COLLATE "C" NOT NULL,
    stream_from BIGINT NOT NULL,
    stream_until BIGINT NOT NULL,
    text_from BIGINT NOT NULL,
    content BYTEA NOT NULL,
    PRIMARY KEY (account, region, command_id, node_id, step, stream, stream_from)
);

-- Retention and backups.
-- What is past its time is found by its age.
CREATE INDEX patch_report_by_at ON patch_report (account, region, at);
CREATE INDEX patch_state_change_by_at ON patch_state_change (account, region, at);
CREATE INDEX package_change_by_at ON package_change (account, region, at);
CREATE INDEX presence_by_until_at ON presence (account, region, until_at) WHERE until_at IS NOT NULL;
CREATE INDEX event_by_at ON event (account, region, at);
