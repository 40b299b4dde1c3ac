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

-- Retention and backups.
