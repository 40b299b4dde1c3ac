-- The ground floor: what several servers on one database, people, sealed audit records, live output and retention need.
-- Only expanding: the version before runs beside it.

-- Replicas and connections.

-- Global: the server processes on this database, by the random name of each. One that has not been seen for a while is gone.
CREATE TABLE replica (
    name TEXT NOT NULL PRIMARY KEY,
    version TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL
);

-- Certificates, pins and keys.

-- People, sessions and access keys.

-- Sealed audit records.

-- Live output.

-- Retention and backups.
