-- The same as in the folder for SQLite, whose comments hold here too; a test compares the results.

-- Replicas and connections.

CREATE TABLE replica (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    version TEXT COLLATE "C" NOT NULL,
    started_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL
);

ALTER TABLE schema_version ADD COLUMN serves_from BIGINT;

ALTER TABLE node_ping ADD COLUMN claims TEXT COLLATE "C";

ALTER TABLE node ADD COLUMN held_at BIGINT;
ALTER TABLE node ADD COLUMN held_reason TEXT COLLATE "C";

-- Certificates, pins and keys.

CREATE TABLE node_trust (
    account TEXT COLLATE "C" NOT NULL,
    region TEXT COLLATE "C" NOT NULL,
    node_id TEXT COLLATE "C" NOT NULL,
    incarnation BIGINT NOT NULL,
    serial BIGINT NOT NULL,
    kept_at BIGINT NOT NULL,
    PRIMARY KEY (account, region, node_id)
);

CREATE TABLE node_next_key (
    account TEXT COLLATE "C" NOT NULL,
    region TEXT COLLATE "C" NOT NULL,
    node_id TEXT COLLATE "C" NOT NULL,
    public_key BYTEA NOT NULL,
    named_at BIGINT NOT NULL,
    PRIMARY KEY (account, region, node_id)
);

-- People, sessions and access keys.

CREATE TABLE account_user (
    account TEXT COLLATE "C" NOT NULL,
    folded TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    user_id TEXT COLLATE "C" NOT NULL,
    role TEXT COLLATE "C" NOT NULL,
    password_sealed BYTEA,
    disabled BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    password_changed_at BIGINT,
    signed_in_at BIGINT,
    PRIMARY KEY (account, folded)
);

ALTER TABLE access_key ADD COLUMN last_used_at BIGINT;
ALTER TABLE access_key ADD COLUMN last_used_service TEXT COLLATE "C";
ALTER TABLE access_key ADD COLUMN last_used_region TEXT COLLATE "C";

ALTER TABLE session ADD COLUMN seen_at BIGINT;
ALTER TABLE session ADD COLUMN source_address TEXT COLLATE "C";
ALTER TABLE session ADD COLUMN user_agent TEXT COLLATE "C";
CREATE INDEX session_by_principal ON session (account, principal);

CREATE TABLE sign_in_failure (
    account TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    count BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    PRIMARY KEY (account, kind, subject)
);
CREATE INDEX sign_in_failure_by_last_at ON sign_in_failure (account, last_at);

-- Sealed audit records.

CREATE TABLE audit_seal (
    account TEXT COLLATE "C" NOT NULL,
    region TEXT COLLATE "C" NOT NULL,
    number BIGINT NOT NULL,
    first_seq BIGINT NOT NULL,
    last_seq BIGINT NOT NULL,
    record_count BIGINT NOT NULL,
    record_digests BYTEA NOT NULL,
    records_digest BYTEA NOT NULL,
    previous_digest BYTEA NOT NULL,
    sealed_at BIGINT NOT NULL,
    digest BYTEA NOT NULL,
    public_key BYTEA NOT NULL,
    signature BYTEA NOT NULL,
    PRIMARY KEY (account, region, number)
);
CREATE INDEX audit_seal_by_last_seq ON audit_seal (account, region, last_seq);

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
