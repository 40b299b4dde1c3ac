//! Which operation a request names, and what is known of it.

use aws_wire::{Operation, careen, route, ssm, sts};

#[test]
fn a_target_names_an_operation() {
    assert_eq!(ssm::route("AmazonSSM.SendCommand"), Some(ssm::Operation::SendCommand));
    for wrong in ["", "SendCommand", "AmazonSSM", "AmazonSSM.", "AmazonSSM.sendcommand", "amazonssm.SendCommand"] {
        assert_eq!(ssm::route(wrong), None, "{wrong}");
    }
    assert_eq!(ssm::route("AmazonSSM.SendCommand "), None);
    assert_eq!(ssm::route("AmazonSSM.StartSession"), None);
    assert_eq!(sts::route("GetCallerIdentity"), Some(sts::Operation::GetCallerIdentity));
    assert_eq!(sts::route("AssumeRole"), None);
}

#[test]
fn every_operation_is_routed_to_itself() {
    assert_eq!(ssm::Operation::ALL.len(), 31);
    for operation in ssm::Operation::ALL {
        assert_eq!(ssm::route(&format!("{}.{}", ssm::TARGET_PREFIX, operation.name())), Some(*operation));
        for error in operation.errors() {
            assert!(ssm::ERRORS.iter().any(|shape| shape.name == *error), "{error}");
        }
    }
}

#[test]
fn each_service_has_its_own_targets() {
    assert_eq!(route("AmazonSSM.SendCommand"), Some(Operation::Ssm(ssm::Operation::SendCommand)));
    for operation in careen::Operation::ALL {
        let found = route(&format!("Careen.{}", operation.name())).unwrap();
        assert_eq!((found, found.service()), (Operation::Careen(*operation), "careen"));
        assert_eq!(route(&format!("AmazonSSM.{}", operation.name())), None);
    }
    assert_eq!(route("Careen.SendCommand"), None);
}

#[test]
fn an_operation_knows_its_service_action_and_errors() {
    let operation = Operation::Ssm(ssm::Operation::DeletePatchBaseline);
    assert_eq!((operation.service(), operation.action().as_str()), ("ssm", "ssm:DeletePatchBaseline"));
    assert_eq!(operation.errors(), ["ResourceInUseException", "InternalServerError"]);
    let operation = Operation::Sts(sts::Operation::GetCallerIdentity);
    assert_eq!((operation.service(), operation.action().as_str()), ("sts", "sts:GetCallerIdentity"));
}

#[test]
fn errors_know_their_message_and_fault() {
    let shape = |name: &str| *ssm::ERRORS.iter().find(|shape| shape.name == name).unwrap();
    assert_eq!(shape("InvalidInstanceInformationFilterValue").message_member, Some("message"));
    assert_eq!(shape("InvalidResourceId").message_member, None);
    assert_eq!(shape("InternalServerError").http_status, 500);
    assert_eq!(shape("DoesNotExistException").http_status, 400);
}
