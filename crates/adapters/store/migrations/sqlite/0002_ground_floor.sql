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

-- The oldest schema whose program may still run on a database that has this one; NULL: none but its own.
ALTER TABLE schema_version ADD COLUMN serves_from BIGINT;

-- JSON: who has connected as this node of late, one after the other.
ALTER TABLE node_ping ADD COLUMN claims TEXT;

-- Since when, and why, nobody may connect as this node.
ALTER TABLE node ADD COLUMN held_at BIGINT;
ALTER TABLE node ADD COLUMN held_reason TEXT;

-- Certificates, pins and keys.

-- Which announcement of the server's keys each node has written down last.
CREATE TABLE node_trust (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    node_id TEXT NOT NULL,
    incarnation BIGINT NOT NULL,
    serial BIGINT NOT NULL,
    kept_at BIGINT NOT NULL,
    PRIMARY KEY (account, region, node_id)
);

-- The key that a node has named as its next one; it is the node's own once the node has shown it.
CREATE TABLE node_next_key (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    node_id TEXT NOT NULL,
    public_key BLOB NOT NULL,
    named_at BIGINT NOT NULL,
    PRIMARY KEY (account, region, node_id)
);

-- People, sessions and access keys.

-- Users of an account, in every region. Names that differ in case alone are one user: the key is the name in lower case.
CREATE TABLE account_user (
    account TEXT NOT NULL,
    folded TEXT NOT NULL,
    name TEXT NOT NULL,
    user_id TEXT NOT NULL,
    role TEXT NOT NULL,
    password_sealed BLOB,
    disabled BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    password_changed_at BIGINT,
    signed_in_at BIGINT,
    PRIMARY KEY (account, folded)
);

ALTER TABLE access_key ADD COLUMN last_used_at BIGINT;
ALTER TABLE access_key ADD COLUMN last_used_service TEXT;
ALTER TABLE access_key ADD COLUMN last_used_region TEXT;

ALTER TABLE session ADD COLUMN seen_at BIGINT;
ALTER TABLE session ADD COLUMN source_address TEXT;
ALTER TABLE session ADD COLUMN user_agent TEXT;
CREATE INDEX session_by_principal ON session (account, principal);

-- Failed attempts to sign in with a password, by user name and by source address.
CREATE TABLE sign_in_failure (
    account TEXT NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    count BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    PRIMARY KEY (account, kind, subject)
);
CREATE INDEX sign_in_failure_by_last_at ON sign_in_failure (account, last_at);

-- Sealed audit records.

-- The chain of sealed batches: each seal covers the audit records after those of the seal before, and that seal's digest.
-- It stays when retention removes its records; their list (record_digests) is empty from then on.
CREATE TABLE audit_seal (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    number BIGINT NOT NULL,
    first_seq BIGINT NOT NULL,
    last_seq BIGINT NOT NULL,
    record_count BIGINT NOT NULL,
    record_digests BLOB NOT NULL,
    records_digest BLOB NOT NULL,
    previous_digest BLOB NOT NULL,
    sealed_at BIGINT NOT NULL,
    digest BLOB NOT NULL,
    public_key BLOB NOT NULL,
    signature BLOB NOT NULL,
    PRIMARY KEY (account, region, number)
);
CREATE INDEX audit_seal_by_last_seq ON audit_seal (account, region, last_seq);

-- The audit log is searched in the order of time, whatever it is searched for. Records that are not of requests that were
-- done are few.
DROP INDEX audit_by_principal;
CREATE INDEX audit_by_principal ON audit (account, region, principal, at, seq);
DROP INDEX audit_by_resource;
CREATE INDEX audit_by_resource ON audit (account, region, resource, at, seq);
CREATE INDEX audit_by_action ON audit (account, region, action, at, seq);
CREATE INDEX audit_by_request ON audit (account, region, request_id, at, seq);
CREATE INDEX audit_by_source_address ON audit (account, region, source_address, at, seq);
CREATE INDEX audit_refused ON audit (account, region, at, seq) WHERE outcome <> 'done';

-- Live output.

-- What steps have written while they run, in pieces; gone when their results are there. Positions count bytes: stream_* of
-- what the step wrote, text_from of the text that was made of it.
CREATE TABLE live_output (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    command_id TEXT NOT NULL,
    node_id TEXT NOT NULL,
    step TEXT NOT NULL,
    stream TEXT NOT NULL,
    stream_from BIGINT NOT NULL,
    stream_until BIGINT NOT NULL,
    text_from BIGINT NOT NULL,
    content BLOB NOT NULL,
    PRIMARY KEY (account, region, command_id, node_id, step, stream, stream_from)
);

-- Retention and backups.
-- What is past its time is found by its age.
CREATE INDEX patch_report_by_at ON patch_report (account, region, at);
CREATE INDEX patch_state_change_by_at ON patch_state_change (account, region, at);
CREATE INDEX package_change_by_at ON package_change (account, region, at);
CREATE INDEX presence_by_until_at ON presence (account, region, until_at) WHERE until_at IS NOT NULL;
CREATE INDEX event_by_at ON event (account, region, at);
