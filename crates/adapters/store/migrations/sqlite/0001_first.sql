-- Columns are BIGINT (microseconds UTC; booleans 0 or 1), TEXT and BLOB, nothing else; the folder beside this one says
-- the same for PostgreSQL (BYTEA for BLOB, COLLATE "C" for TEXT), and a test compares the results.
-- Every row belongs to one account and region, except where a comment says otherwise.

-- Global: facts about the database itself, e.g. the key's fingerprint and the incarnation.
CREATE TABLE meta (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

-- Global: the server's own keys; the secret half is sealed with a key that is not in the database.
CREATE TABLE server_key (
    name TEXT NOT NULL PRIMARY KEY,
    public_key BLOB NOT NULL,
    secret_sealed BLOB NOT NULL,
    created_at BIGINT NOT NULL
);

-- Of an account in every region. The id alone is the key, because it leads to the account.
CREATE TABLE access_key (
    access_key_id TEXT NOT NULL PRIMARY KEY,
    account TEXT NOT NULL,
    principal TEXT NOT NULL,
    secret_sealed BLOB NOT NULL,
    status TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX access_key_by_account ON access_key (account, access_key_id);

-- Console sessions, found by the digest of what the browser holds.
CREATE TABLE session (
    token_digest BLOB NOT NULL PRIMARY KEY,
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    principal TEXT NOT NULL,
    csrf_token TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    valid_until BIGINT NOT NULL
);
CREATE INDEX session_by_valid_until ON session (valid_until);

CREATE TABLE sign_in_link (
    token_digest BLOB NOT NULL PRIMARY KEY,
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    principal TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    valid_until BIGINT NOT NULL,
    used_at BIGINT
);
CREATE INDEX sign_in_link_by_valid_until ON sign_in_link (valid_until);

-- The last number given of each of a scope's sequences. Its row is the lock that keeps them without gaps and in order.
CREATE TABLE scope_sequence (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    name TEXT NOT NULL,
    last BIGINT NOT NULL,
    PRIMARY KEY (account, region, name)
) WITHOUT ROWID;

-- How often each unit of consistency has been changed. Rows stay when the thing is gone.
CREATE TABLE aggregate (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    revision BIGINT NOT NULL,
    PRIMARY KEY (account, region, kind, id)
) WITHOUT ROWID;

CREATE TABLE event (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    seq BIGINT NOT NULL,
    at BIGINT NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (account, region, seq)
) WITHOUT ROWID;

CREATE TABLE audit (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    seq BIGINT NOT NULL,
    at BIGINT NOT NULL,
    request_id TEXT NOT NULL,
    principal TEXT NOT NULL,
    source_address TEXT NOT NULL,
    action TEXT NOT NULL,
    resource TEXT NOT NULL,
    outcome TEXT NOT NULL,
    state_before TEXT NOT NULL,
    state_after TEXT NOT NULL,
    PRIMARY KEY (account, region, seq)
);
CREATE INDEX audit_by_at ON audit (account, region, at, seq);
CREATE INDEX audit_by_principal ON audit (account, region, principal, seq);
CREATE INDEX audit_by_resource ON audit (account, region, resource, seq);

-- What a client token was first used for, and what came of it.
CREATE TABLE idempotency (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    operation TEXT NOT NULL,
    token TEXT NOT NULL,
    request_digest TEXT NOT NULL,
    result TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (account, region, operation, token)
);
CREATE INDEX idempotency_by_at ON idempotency (at);

CREATE TABLE node (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    node_id TEXT NOT NULL,
    activation_id TEXT NOT NULL,
    iam_role TEXT NOT NULL,
    name TEXT NOT NULL,
    registered_at BIGINT NOT NULL,
    public_key BLOB NOT NULL,
    facts TEXT NOT NULL,
    state TEXT NOT NULL,
    deregistered_at BIGINT,
    inventory_digest TEXT,
    inventory_at BIGINT,
    PRIMARY KEY (account, region, node_id)
);
CREATE INDEX node_by_activation ON node (account, region, activation_id);
CREATE INDEX node_by_id ON node (node_id);
CREATE INDEX node_by_state ON node (account, region, state, node_id);

-- Written often, so apart from the node and without a revision.
CREATE TABLE node_ping (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    node_id TEXT NOT NULL,
    last_ping_at BIGINT NOT NULL,
    connected BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    replica TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    last_boot_at BIGINT,
    PRIMARY KEY (account, region, node_id)
) WITHOUT ROWID;

CREATE TABLE activation (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    activation_id TEXT NOT NULL,
    code_secret_hash BLOB NOT NULL,
    iam_role TEXT NOT NULL,
    description TEXT NOT NULL,
    default_instance_name TEXT NOT NULL,
    registration_limit BIGINT NOT NULL,
    registrations_count BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    tags TEXT NOT NULL,
    PRIMARY KEY (account, region, activation_id)
);
CREATE INDEX activation_by_id ON activation (activation_id);

CREATE TABLE tag (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    resource_type TEXT NOT NULL,
    resource_id TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (account, region, resource_type, resource_id, key)
) WITHOUT ROWID;
CREATE INDEX tag_by_value ON tag (account, region, resource_type, key, value, resource_id);

CREATE TABLE command (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    command_id TEXT NOT NULL,
    document_name TEXT NOT NULL,
    document_version TEXT NOT NULL,
    document_version_resolved TEXT NOT NULL,
    comment TEXT NOT NULL,
    parameters TEXT NOT NULL,
    instance_ids TEXT NOT NULL,
    targets TEXT NOT NULL,
    delivery_timeout_seconds BIGINT NOT NULL,
    execution_timeout_seconds BIGINT NOT NULL,
    requested_at BIGINT NOT NULL,
    delivery_until BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    max_concurrency TEXT NOT NULL,
    max_errors TEXT NOT NULL,
    state TEXT NOT NULL,
    target_count BIGINT NOT NULL,
    completed_count BIGINT NOT NULL,
    error_count BIGINT NOT NULL,
    delivery_timed_out_count BIGINT NOT NULL,
    cancel_requested_at BIGINT,
    finished_at BIGINT,
    requested_by TEXT NOT NULL,
    request_id TEXT NOT NULL,
    PRIMARY KEY (account, region, command_id)
);
CREATE INDEX command_by_requested_at ON command (account, region, requested_at, command_id);
CREATE INDEX command_by_state ON command (account, region, state, requested_at, command_id);

CREATE TABLE invocation (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    command_id TEXT NOT NULL,
    node_id TEXT NOT NULL,
    instance_name TEXT NOT NULL,
    job_id TEXT NOT NULL,
    state TEXT NOT NULL,
    trace TEXT NOT NULL,
    requested_at BIGINT NOT NULL,
    sent_at BIGINT,
    started_at BIGINT,
    finished_at BIGINT,
    delivery_until BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    steps TEXT NOT NULL,
    PRIMARY KEY (account, region, command_id, node_id)
);
CREATE INDEX invocation_by_node ON invocation (account, region, node_id, requested_at, command_id);
CREATE INDEX invocation_by_requested_at ON invocation (account, region, requested_at, command_id, node_id);
CREATE INDEX invocation_by_job ON invocation (account, region, job_id);
CREATE INDEX invocation_by_state ON invocation (account, region, state, command_id, node_id);

-- Output is bytes, not text: PostgreSQL's TEXT refuses the character NUL.
CREATE TABLE step_output (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    command_id TEXT NOT NULL,
    node_id TEXT NOT NULL,
    step TEXT NOT NULL,
    stdout BLOB NOT NULL,
    stderr BLOB NOT NULL,
    stdout_truncated BIGINT NOT NULL,
    stderr_truncated BIGINT NOT NULL,
    PRIMARY KEY (account, region, command_id, node_id, step)
);

CREATE TABLE patch_baseline (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    baseline_id TEXT NOT NULL,
    name TEXT NOT NULL,
    operating_system TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (account, region, baseline_id)
);
CREATE INDEX patch_baseline_by_operating_system ON patch_baseline (account, region, operating_system, baseline_id);

CREATE TABLE patch_default (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    operating_system TEXT NOT NULL,
    baseline_id TEXT NOT NULL,
    predefined BIGINT NOT NULL,
    PRIMARY KEY (account, region, operating_system)
);

CREATE TABLE patch_group (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    patch_group TEXT NOT NULL,
    operating_system TEXT NOT NULL,
    baseline_id TEXT NOT NULL,
    predefined BIGINT NOT NULL,
    PRIMARY KEY (account, region, patch_group, operating_system)
);
CREATE INDEX patch_group_by_baseline ON patch_group (account, region, baseline_id, patch_group, operating_system);

-- Every run's summary, never overwritten. A run is known by its node, its command and its end.
CREATE TABLE patch_report (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    node_id TEXT NOT NULL,
    at BIGINT NOT NULL,
    command_id TEXT NOT NULL,
    operation TEXT NOT NULL,
    baseline_id TEXT NOT NULL,
    summary TEXT NOT NULL,
    PRIMARY KEY (account, region, node_id, at, command_id)
);
CREATE INDEX patch_report_by_command ON patch_report (account, region, command_id, node_id);

-- Only what changed from one run to the next; a state that is NULL: the patch is not there.
CREATE TABLE patch_state_change (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    node_id TEXT NOT NULL,
    at BIGINT NOT NULL,
    kb_id TEXT NOT NULL,
    command_id TEXT NOT NULL,
    from_state TEXT,
    to_state TEXT,
    PRIMARY KEY (account, region, node_id, at, kb_id, command_id)
) WITHOUT ROWID;

-- The current view of each node, derived in the transaction that appends the report.
CREATE TABLE patch_summary (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    node_id TEXT NOT NULL,
    at BIGINT NOT NULL,
    command_id TEXT NOT NULL,
    operation TEXT NOT NULL,
    baseline_id TEXT NOT NULL,
    patch_group TEXT NOT NULL,
    summary TEXT NOT NULL,
    PRIMARY KEY (account, region, node_id)
);
CREATE INDEX patch_summary_by_patch_group ON patch_summary (account, region, patch_group, node_id);

CREATE TABLE patch_state (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    node_id TEXT NOT NULL,
    kb_id TEXT NOT NULL,
    state TEXT NOT NULL,
    classification TEXT NOT NULL,
    severity TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (account, region, node_id, kb_id)
);
CREATE INDEX patch_state_by_state ON patch_state (account, region, node_id, state, kb_id);

-- The distinct versions that were ever present, each once.
CREATE TABLE package_version (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    package_version_id BIGINT NOT NULL,
    distribution_id TEXT NOT NULL,
    distribution_version_id TEXT NOT NULL,
    name TEXT NOT NULL,
    architecture TEXT NOT NULL,
    version TEXT NOT NULL,
    source TEXT NOT NULL,
    source_version TEXT NOT NULL,
    section TEXT NOT NULL,
    priority TEXT NOT NULL,
    first_seen_at BIGINT NOT NULL,
    PRIMARY KEY (account, region, package_version_id)
);
CREATE UNIQUE INDEX package_version_by_name ON package_version (
    account, region, distribution_id, distribution_version_id, name, architecture, version, source, source_version,
    section, priority
);

-- From when until when (NULL: still) a version was present on a node, in one state. Append-only but for closing.
CREATE TABLE presence (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    node_id TEXT NOT NULL,
    package_version_id BIGINT NOT NULL,
    from_at BIGINT NOT NULL,
    until_at BIGINT,
    state TEXT NOT NULL,
    held BIGINT NOT NULL,
    PRIMARY KEY (account, region, node_id, package_version_id, from_at)
) WITHOUT ROWID;
CREATE INDEX presence_open ON presence (account, region, node_id, until_at, package_version_id);
CREATE INDEX presence_by_package_version ON presence (account, region, package_version_id, until_at, node_id);

CREATE TABLE node_inventory (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    node_id TEXT NOT NULL,
    digest TEXT NOT NULL,
    at BIGINT NOT NULL,
    distribution TEXT NOT NULL,
    PRIMARY KEY (account, region, node_id)
);

-- A version is '' where the package was not there.
CREATE TABLE package_change (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    node_id TEXT NOT NULL,
    at BIGINT NOT NULL,
    name TEXT NOT NULL,
    architecture TEXT NOT NULL,
    from_version TEXT NOT NULL,
    to_version TEXT NOT NULL,
    command_id TEXT NOT NULL,
    PRIMARY KEY (account, region, node_id, at, name, architecture, from_version, to_version)
) WITHOUT ROWID;
CREATE INDEX package_change_by_command ON package_change (account, region, command_id, node_id, name, architecture);

-- When a version was first offered to any node.
CREATE TABLE offered_version (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    distribution_id TEXT NOT NULL,
    name TEXT NOT NULL,
    architecture TEXT NOT NULL,
    version TEXT NOT NULL,
    first_seen_at BIGINT NOT NULL,
    PRIMARY KEY (account, region, distribution_id, name, architecture, version)
) WITHOUT ROWID;
