use crate::shape::Shape;
use crate::{careen, iam, ssm, sts};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What the generated tables know of one operation.
#[derive(Debug)]
pub(crate) struct OperationShape {
    pub(crate) name: &'static str,
    pub(crate) errors: &'static [&'static str],
    pub(crate) input: &'static Shape,
    /// What XML is written by; only of the Query protocol, and there absent where the answer is empty.
    pub(crate) output: Option<&'static Shape>,
}

/// An operation of any of the services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Systems Manager: awsJson1.1.
    Ssm(ssm::Operation),
    /// Security Token Service: Query.
    Sts(sts::Operation),
    /// Careen's own: awsJson1.1.
    Careen(careen::Operation),
    /// Identity and Access Management: Query.
    Iam(iam::Operation),
}

/// The operation that an `X-Amz-Target` header names, e.g. `AmazonSSM.SendCommand` or `Careen.ListAuditRecords`.
#[must_use]
pub fn route(target: &str) -> Option<Operation> {
    let own = || careen::route(target).map(Operation::Careen);
    ssm::route(target).map(Operation::Ssm).or_else(own)
}

impl Operation {
    /// The operation's name, e.g. `CreateActivation`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.shape().name
    }

    /// The service's signing name and action prefix: `ssm`, `sts`, `iam` or `careen`.
    #[must_use]
    pub fn service(self) -> &'static str {
        match self {
            Self::Ssm(_) => ssm::SIGNING_NAME,
            Self::Sts(_) => sts::SIGNING_NAME,
            Self::Careen(_) => careen::SIGNING_NAME,
            Self::Iam(_) => iam::SIGNING_NAME,
        }
    }

    /// The IAM action, e.g. `ssm:CreateActivation`.
    #[must_use]
    pub fn action(self) -> String {
        format!("{}:{}", self.service(), self.name())
    }

    /// The names of the errors that the model lists for this operation. Any operation may also give the common ones
    /// (`ValidationException`, `AccessDeniedException`, `ThrottlingException` and the signature errors).
    #[must_use]
    pub fn errors(self) -> &'static [&'static str] {
        self.shape().errors
    }

    /// The namespace of the service's XML; empty for a service that writes JSON.
    pub(crate) fn xml_namespace(self) -> &'static str {
        match self {
            Self::Ssm(_) | Self::Careen(_) => "",
            Self::Sts(_) => sts::XML_NAMESPACE,
            Self::Iam(_) => iam::XML_NAMESPACE,
        }
    }

    pub(crate) fn shape(self) -> &'static OperationShape {
        match self {
            Self::Ssm(operation) => operation.shape(),
            Self::Sts(operation) => operation.shape(),
            Self::Careen(operation) => operation.shape(),
            Self::Iam(operation) => operation.shape(),
        }
    }
}

/// The input structure of one operation: ties it to its constraints and its output.
pub trait Input: DeserializeOwned {
    /// The operation that takes this input.
    const OPERATION: Operation;
    /// What the operation answers.
    type Output: Serialize + Send;
}
