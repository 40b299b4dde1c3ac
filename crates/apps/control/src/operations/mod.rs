//! One module per operation, and the table that leads to them.

mod add_tags_to_resource;
mod baselines;
mod cancel_command;
mod create_access_key;
mod create_activation;
mod create_patch_baseline;
mod create_user;
mod delete_access_key;
mod delete_activation;
mod delete_patch_baseline;
mod delete_user;
mod deregister_managed_instance;
mod deregister_patch_baseline_for_patch_group;
mod describe_activations;
mod describe_document;
mod describe_document_permission;
mod describe_instance_information;
mod describe_instance_patch_states;
mod describe_instance_patches;
mod describe_patch_baselines;
mod describe_patch_groups;
mod documents;
mod get_access_key_last_used;
mod get_audit_record;
mod get_caller_identity;
mod get_command_invocation;
mod get_default_patch_baseline;
mod get_document;
mod get_effective_patch_baseline;
mod get_patch_baseline;
mod get_patch_baseline_for_patch_group;
mod get_server_information;
mod get_user;
mod list_access_keys;
mod list_audit_records;
mod list_command_invocations;
mod list_commands;
mod list_documents;
mod list_package_changes;
mod list_patch_reasons;
mod list_tags_for_resource;
mod list_users;
mod register_default_patch_baseline;
mod register_patch_baseline_for_patch_group;
mod remove_tags_from_resource;
mod send_command;
mod shown_commands;
mod shown_users;
mod update_access_key;
mod update_managed_instance_role;
mod update_patch_baseline;
mod verify_audit_log;

use aws_wire::{AwsError, Operation, careen, iam, query::Form, ssm, sts};

use crate::{
    Context,
    call::{perform_json, perform_query},
};

macro_rules! route {
    ($service:ident, $context:expr, $operation:expr, $body:expr, [$($name:ident $request:ident),* $(,)?]) => {
        match $operation {
            $($service::Operation::$name => perform_json::<$service::$request>($context, $body).await,)*
        }
    };
}

/// Answers one awsJson1.1 request of an authenticated caller. The match is exhaustive: an operation of the model
/// without a module does not compile.
///
/// # Errors
/// The AWS error to be written.
pub async fn answer_json(context: &Context, operation: Operation, body: &[u8]) -> Result<Vec<u8>, AwsError> {
    match operation {
        Operation::Ssm(operation) => answer_ssm(context, operation, body).await,
        Operation::Careen(operation) => answer_careen(context, operation, body).await,
        // No target names one of these: their requests are Query.
        Operation::Sts(_) | Operation::Iam(_) => Err(AwsError::unknown_operation()),
    }
}

async fn answer_careen(context: &Context, operation: careen::Operation, body: &[u8]) -> Result<Vec<u8>, AwsError> {
    route!(careen, context, operation, body, [
        GetAuditRecord GetAuditRecordRequest,
        GetEffectivePatchBaseline GetEffectivePatchBaselineRequest,
        GetServerInformation GetServerInformationRequest,
        ListAuditRecords ListAuditRecordsRequest,
        ListPackageChanges ListPackageChangesRequest,
        ListPatchReasons ListPatchReasonsRequest,
        VerifyAuditLog VerifyAuditLogRequest,
    ])
}

async fn answer_ssm(context: &Context, operation: ssm::Operation, body: &[u8]) -> Result<Vec<u8>, AwsError> {
    route!(ssm, context, operation, body, [
        AddTagsToResource AddTagsToResourceRequest,
        CancelCommand CancelCommandRequest,
        CreateActivation CreateActivationRequest,
        CreatePatchBaseline CreatePatchBaselineRequest,
        DeleteActivation DeleteActivationRequest,
        DeletePatchBaseline DeletePatchBaselineRequest,
        DeregisterManagedInstance DeregisterManagedInstanceRequest,
        DeregisterPatchBaselineForPatchGroup DeregisterPatchBaselineForPatchGroupRequest,
        DescribeActivations DescribeActivationsRequest,
        DescribeDocument DescribeDocumentRequest,
        DescribeDocumentPermission DescribeDocumentPermissionRequest,
        DescribeInstanceInformation DescribeInstanceInformationRequest,
        DescribeInstancePatchStates DescribeInstancePatchStatesRequest,
        DescribeInstancePatches DescribeInstancePatchesRequest,
        DescribePatchBaselines DescribePatchBaselinesRequest,
        DescribePatchGroups DescribePatchGroupsRequest,
        GetCommandInvocation GetCommandInvocationRequest,
        GetDefaultPatchBaseline GetDefaultPatchBaselineRequest,
        GetDocument GetDocumentRequest,
        GetPatchBaseline GetPatchBaselineRequest,
        GetPatchBaselineForPatchGroup GetPatchBaselineForPatchGroupRequest,
        ListCommandInvocations ListCommandInvocationsRequest,
        ListCommands ListCommandsRequest,
        ListDocuments ListDocumentsRequest,
        ListTagsForResource ListTagsForResourceRequest,
        RegisterDefaultPatchBaseline RegisterDefaultPatchBaselineRequest,
        RegisterPatchBaselineForPatchGroup RegisterPatchBaselineForPatchGroupRequest,
        RemoveTagsFromResource RemoveTagsFromResourceRequest,
        SendCommand SendCommandRequest,
        UpdateManagedInstanceRole UpdateManagedInstanceRoleRequest,
        UpdatePatchBaseline UpdatePatchBaselineRequest,
    ])
}

/// Answers one Query request of an authenticated caller with XML. Exhaustive as [`answer_json`] is.
///
/// # Errors
/// The AWS error to be written.
pub async fn answer_query(context: &Context, operation: Operation, form: &Form) -> Result<Vec<u8>, AwsError> {
    match operation {
        Operation::Sts(sts::Operation::GetCallerIdentity) => {
            perform_query::<sts::GetCallerIdentityRequest>(context, form).await
        }
        Operation::Iam(operation) => answer_iam(context, operation, form).await,
        // No form names one of these.
        Operation::Ssm(_) | Operation::Careen(_) => Err(AwsError::unknown_operation()),
    }
}

async fn answer_iam(context: &Context, operation: iam::Operation, form: &Form) -> Result<Vec<u8>, AwsError> {
    use iam::Operation as Of;
    match operation {
        Of::CreateAccessKey => perform_query::<iam::CreateAccessKeyRequest>(context, form).await,
        Of::CreateUser => perform_query::<iam::CreateUserRequest>(context, form).await,
        Of::DeleteAccessKey => perform_query::<iam::DeleteAccessKeyRequest>(context, form).await,
        Of::DeleteUser => perform_query::<iam::DeleteUserRequest>(context, form).await,
        Of::GetAccessKeyLastUsed => perform_query::<iam::GetAccessKeyLastUsedRequest>(context, form).await,
        Of::GetUser => perform_query::<iam::GetUserRequest>(context, form).await,
        Of::ListAccessKeys => perform_query::<iam::ListAccessKeysRequest>(context, form).await,
        Of::ListUsers => perform_query::<iam::ListUsersRequest>(context, form).await,
        Of::UpdateAccessKey => perform_query::<iam::UpdateAccessKeyRequest>(context, form).await,
    }
}

/// Every operation that has an answer, for tests of completeness.
#[must_use]
pub fn all() -> Vec<Operation> {
    let ssm = ssm::Operation::ALL.iter().map(|o| Operation::Ssm(*o));
    let sts = sts::Operation::ALL.iter().map(|o| Operation::Sts(*o));
    let own = careen::Operation::ALL.iter().map(|o| Operation::Careen(*o));
    ssm.chain(own).chain(sts).chain(iam::Operation::ALL.iter().map(|o| Operation::Iam(*o))).collect()
}
