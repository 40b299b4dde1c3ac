-- The same as in the folder for SQLite, whose comments hold here too; a test compares the results.

CREATE TABLE meta (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    value TEXT COLLATE "C" NOT NULL
);

CREATE TABLE server_key (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    public_key BYTEA NOT NULL,
    secret_sealed BYTEA NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE access_key (
    access_key_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    account TEXT COLLATE "C" NOT NULL,
    principal TEXT COLLATE "C" NOT NULL,
    secret_sealed BYTEA NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX access_key_by_account ON access_key (account, access_key_id);

CREATE TABLE session (
    token_digest BYTEA NOT NULL PRIMARY KEY,
    account TEXT COLLATE "C" NOT NULL,
    region TEXT COLLATE "C" NOT NULL,
    principal TEXT COLLATE "C" NOT NULL,
    csrf_token TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    valid_until BIGINT NOT NULL
);
CREATE INDEX session_by_valid_until ON session (valid_until);

CREATE TABLE sign_in_link (
    token_digest BYTEA NOT NULL PRIMARY KEY,
    account TEXT COLLATE "C" NOT NULL,
    region TEXT COLLATE "C" NOT NULL,
    principal TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    valid_until BIGINT NOT NULL,
    used_at BIGINT
);
CREATE INDEX sign_in_link_by_valid_until ON sign_in_link (valid_until);

CREATE TABLE scope_sequence (
    account TEXT COLLATE "C" NOT NULL,
    region TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    last BIGINT NOT NULL,
    PRIMARY KEY (account, region, name)
);

CREATE TABLE aggregate (
    account TEXT COLLATE "C" NOT NULL,
    region TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL,
    PRIMARY KEY (account, region, kind, id)
);

CREATE TABLE event (
    account TEXT COLLATE "C" NOT NULL,
    region TEXT COLLATE "C" NOT NULL,
    seq BIGINT NOT NULL,
    at BIGINT NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    body TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (account, region, seq)
);

CREATE TABLE audit (
    account TEXT COLLATE "C" NOT NULL,
    region TEXT COLLATE "C" NOT NULL,
    seq BIGINT NOT NULL,
    at BIGINT NOT NULL,
    request_id TEXT COLLATE "C" NOT NULL,
    principal TEXT COLLATE "C" NOT NULL,
    source_address TEXT COLLATE "C" NOT NULL,
    action TEXT COLLATE "C" NOT NULL,
    resource TEXT COLLATE "C" NOT NULL,
    outcome TEXT COLLATE "C" NOT NULL,
    state_before TEXT COLLATE "C" NOT NULL,
    state_after TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (account, region, seq)
);
CREATE INDEX audit_by_at ON audit (account, region, at, seq);
CREATE INDEX audit_by_principal ON audit (account, region, principal, seq);
CREATE INDEX audit_by_resource ON audit (account, region, resource, seq);

CREATE TABLE idempotency (
    account TEXT COLLATE "C" NOT NULL,
    region TEXT COLLATE "C" NOT NULL,
    operation TEXT COLLATE "C" NOT NULL,
    token TEXT COLLATE "C" NOT NULL,
    request_digest TEXT COLLATE "C" NOT NULL,
    result TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (account, region, operation, token)
);
CREATE INDEX idempotency_by_at ON idempotency (at);

CREATE TABLE node (
    account TEXT COLLATE "C" NOT NULL,
    region TEXT COLLATE "C" NOT NULL,
    node_id TEXT COLLATE "C" NOT NULL,
    activation_id TEXT COLLATE "C" NOT NULL,
    iam_role TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    registered_at BIGINT NOT NULL,
    public_key BYTEA NOT NULL,
    facts TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    deregistered_at BIGINT,
    inventory_digest TEXT COLLATE "C",
    inventory_at BIGINT,
    PRIMARY KEY (account, region, node_id)
);
CREATE INDEX node_by_activation ON node (account, region, activation_id);
CREATE INDEX node_by_id ON node (node_id);
CREATE INDEX node_by_state ON node (account, region, state, node_id);

CREATE TABLE node_ping (
    account TEXT COLLATE "C" NOT NULL,
    region TEXT COLLATE "C" NOT NULL,
    node_id TEXT COLLATE "C" NOT NULL,
    last_ping_at BIGINT NOT NULL,
    connected BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    replica TEXT COLLATE "C" NOT NULL,
    boot_id TEXT COLLATE "C" NOT NULL,
    last_boot_at BIGINT,
    PRIMARY KEY (account, region, node_id)
);

CREATE TABLE activation (
    account TEXT COLLATE "C" NOT NULL,
    region TEXT COLLATE "C" NOT NULL,
    activation_id TEXT COLLATE "C" NOT NULL,
    code_secret_hash BYTEA NOT NULL,
    iam_role TEXT COLLATE "C" NOT NULL,
    description TEXT COLLATE "C" NOT NULL,
    default_instance_name TEXT COLLATE "C" NOT NULL,
    registration_limit BIGINT NOT NULL,
    registrations_count BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT COLLATE "C" NOT NULL,
    tags TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (account, region, activation_id)
);
CREATE INDEX activation_by_id ON activation (activation_id);

CREATE TABLE tag (
    account TEXT COLLATE "C" NOT NULL,
    region TEXT COLLATE "C" NOT NULL,
    resource_type TEXT COLLATE "C" NOT NULL,
    resource_id TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    value TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (account, region, resource_type, resource_id, key)
);
CREATE INDEX tag_by_value ON tag (account, region, resource_type, key, value, resource_id);

CREATE TABLE command (
    account TEXT COLLATE "C" NOT NULL,
    region TEXT COLLATE "C" NOT NULL,
    command_id TEXT COLLATE "C" NOT NULL,
    document_name TEXT COLLATE "C" NOT NULL,
    document_version TEXT COLLATE "C" NOT NULL,
    document_version_resolved TEXT COLLATE "C" NOT NULL,
    comment TEXT COLLATE "C" NOT NULL,
    parameters TEXT COLLATE "C" NOT NULL,
    instance_ids TEXT COLLATE "C" NOT NULL,
    targets TEXT COLLATE "C" NOT NULL,
    delivery_timeout_seconds BIGINT NOT NULL,
    execution_timeout_seconds BIGINT NOT NULL,
    requested_at BIGINT NOT NULL,
    delivery_until BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    max_concurrency TEXT COLLATE "C" NOT NULL,
    max_errors TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    target_count BIGINT NOT NULL,
    completed_count BIGINT NOT NULL,
    error_count BIGINT NOT NULL,
    delivery_timed_out_count BIGINT NOT NULL,
    cancel_requested_at BIGINT,
    finished_at BIGINT,
    requested_by TEXT COLLATE "C" NOT NULL,
    request_id TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (account, region, command_id)
);
CREATE INDEX command_by_requested_at ON command (account, region, requested_at, command_id);
CREATE INDEX command_by_state ON command (account, region, state, requested_at, command_id);

CREATE TABLE invocation (
    account TEXT COLLATE "C" NOT NULL,
    region TEXT COLLATE "C" NOT NULL,
    command_id TEXT COLLATE "C" NOT NULL,
    node_id TEXT COLLATE "C" NOT NULL,
    instance_name TEXT COLLATE "C" NOT NULL,
    job_id TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    trace TEXT COLLATE "C" NOT NULL,
    requested_at BIGINT NOT NULL,
    sent_at BIGINT,
    started_at BIGINT,
    finished_at BIGINT,
    delivery_until BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    steps TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (account, region, command_id, node_id)
);
CREATE INDEX invocation_by_node ON invocation (account, region, node_id, requested_at, command_id);
CREATE INDEX invocation_by_requested_at ON invocation (account, region, requested_at, command_id, node_id);
CREATE INDEX invocation_by_job ON invocation (account, region, job_id);
CREATE INDEX invocation_by_state ON invocation (account, region, state, command_id, node_id);

CREATE TABLE step_output (
    account TEXT COLLATE "C" NOT NULL,
    region TEXT COLLATE "C" NOT NULL,
    command_id TEXT COLLATE "C" NOT NULL,
    node_id TEXT COLLATE "C" NOT NULL,
    step TEXT COLLATE "C" NOT NULL,
    stdout BYTEA NOT NULL,
    stderr BYTEA NOT NULL,
    stdout_truncated BIGINT NOT NULL,
    stderr_truncated BIGINT NOT NULL,
    PRIMARY KEY (account, region, command_id, node_id, step)
);

CREATE TABLE patch_baseline (
    account TEXT COLLATE "C" NOT NULL,
    region TEXT COLLATE "C" NOT NULL,
    baseline_id TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    operating_system TEXT COLLATE "C" NOT NULL,
    body TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (account, region, baseline_id)
);
CREATE INDEX patch_baseline_by_operating_system ON patch_baseline (account, region, operating_system, baseline_id);

CREATE TABLE patch_default (
    account TEXT COLLATE "C" NOT NULL,
    region TEXT COLLATE "C" NOT NULL,
    operating_system TEXT COLLATE "C" NOT NULL,
    baseline_id TEXT COLLATE "C" NOT NULL,
    predefined BIGINT NOT NULL,
    PRIMARY KEY (account, region, operating_system)
);

CREATE TABLE patch_group (
    account TEXT COLLATE "C" NOT NULL,
    region TEXT COLLATE "C" NOT NULL,
    patch_group TEXT COLLATE "C" NOT NULL,
    operating_system TEXT COLLATE "C" NOT NULL,
    baseline_id TEXT COLLATE "C" NOT NULL,
    predefined BIGINT NOT NULL,
    PRIMARY KEY (account, region, patch_group, operating_system)
);
CREATE INDEX patch_group_by_baseline ON patch_group (account, region, baseline_id, patch_group, operating_system);

CREATE TABLE patch_report (
    account TEXT COLLATE "C" NOT NULL,
    region TEXT COLLATE "C" NOT NULL,
    node_id TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL,
    command_id TEXT COLLATE "C" NOT NULL,
    operation TEXT COLLATE "C" NOT NULL,
    baseline_id TEXT COLLATE "C" NOT NULL,
    summary TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (account, region, node_id, at, command_id)
);
CREATE INDEX patch_report_by_command ON patch_report (account, region, command_id, node_id);

CREATE TABLE patch_state_change (
    account TEXT COLLATE "C" NOT NULL,
    region TEXT COLLATE "C" NOT NULL,
    node_id TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL,
    kb_id TEXT COLLATE "C" NOT NULL,
    command_id TEXT COLLATE "C" NOT NULL,
    from_state TEXT COLLATE "C",
    to_state TEXT COLLATE "C",
    PRIMARY KEY (account, region, node_id, at, kb_id, command_id)
);

CREATE TABLE patch_summary (
    account TEXT COLLATE "C" NOT NULL,
    region TEXT COLLATE "C" NOT NULL,
    node_id TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL,
    command_id TEXT COLLATE "C" NOT NULL,
    operation TEXT COLLATE "C" NOT NULL,
    baseline_id TEXT COLLATE "C" NOT NULL,
    patch_group TEXT COLLATE "C" NOT NULL,
    summary TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (account, region, node_id)
);
CREATE INDEX patch_summary_by_patch_group ON patch_summary (account, region, patch_group, node_id);

CREATE TABLE patch_state (
    account TEXT COLLATE "C" NOT NULL,
    region TEXT COLLATE "C" NOT NULL,
    node_id TEXT COLLATE "C" NOT NULL,
    kb_id TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    classification TEXT COLLATE "C" NOT NULL,
    severity TEXT COLLATE "C" NOT NULL,
    body TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (account, region, node_id, kb_id)
);
CREATE INDEX patch_state_by_state ON patch_state (account, region, node_id, state, kb_id);

CREATE TABLE package_version (
    account TEXT COLLATE "C" NOT NULL,
    region TEXT COLLATE "C" NOT NULL,
    package_version_id BIGINT NOT NULL,
    distribution_id TEXT COLLATE "C" NOT NULL,
    distribution_version_id TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    architecture TEXT COLLATE "C" NOT NULL,
    version TEXT COLLATE "C" NOT NULL,
    source TEXT COLLATE "C" NOT NULL,
    source_version TEXT COLLATE "C" NOT NULL,
    section TEXT COLLATE "C" NOT NULL,
    priority TEXT COLLATE "C" NOT NULL,
    first_seen_at BIGINT NOT NULL,
    PRIMARY KEY (account, region, package_version_id)
);
CREATE UNIQUE INDEX package_version_by_name ON package_version (
    account, region, distribution_id, distribution_version_id, name, architecture, version, source, source_version,
    section, priority
);

CREATE TABLE presence (
    account TEXT COLLATE "C" NOT NULL,
    region TEXT COLLATE "C" NOT NULL,
    node_id TEXT COLLATE "C" NOT NULL,
    package_version_id BIGINT NOT NULL,
    from_at BIGINT NOT NULL,
    until_at BIGINT,
    state TEXT COLLATE "C" NOT NULL,
    held BIGINT NOT NULL,
    PRIMARY KEY (account, region, node_id, package_version_id, from_at)
);
CREATE INDEX presence_open ON presence (account, region, node_id, until_at, package_version_id);
CREATE INDEX presence_by_package_version ON presence (account, region, package_version_id, until_at, node_id);

CREATE TABLE node_inventory (
    account TEXT COLLATE "C" NOT NULL,
    region TEXT COLLATE "C" NOT NULL,
    node_id TEXT COLLATE "C" NOT NULL,
    digest TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL,
    distribution TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (account, region, node_id)
);

CREATE TABLE package_change (
    account TEXT COLLATE "C" NOT NULL,
    region TEXT COLLATE "C" NOT NULL,
    node_id TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    architecture TEXT COLLATE "C" NOT NULL,
    from_version TEXT COLLATE "C" NOT NULL,
    to_version TEXT COLLATE "C" NOT NULL,
    command_id TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (account, region, node_id, at, name, architecture, from_version, to_version)
);
CREATE INDEX package_change_by_command ON package_change (account, region, command_id, node_id, name, architecture);

CREATE TABLE offered_version (
    account TEXT COLLATE "C" NOT NULL,
    region TEXT COLLATE "C" NOT NULL,
    distribution_id TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    architecture TEXT COLLATE "C" NOT NULL,
    version TEXT COLLATE "C" NOT NULL,
    first_seen_at BIGINT NOT NULL,
    PRIMARY KEY (account, region, distribution_id, name, architecture, version)
);
