//! How callers name a patch baseline: the bare id of an own one, or the ARN of an own or a predefined one.

use crate::predefined::{PREDEFINED_OWNER_ACCOUNT, predefined_by_id};
use crate::{PatchBaseline, Refused, Versioned};
use changes::Revision;
use identifiers::{BaselineId, Region, Scope};

/// What a caller's text names.
///
/// The bare id of a predefined baseline is read as [`BaselineReference::Own`], under which nothing is found: as with
/// AWS, a predefined baseline is named by its ARN alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BaselineReference {
    /// A baseline of this account and region, which may exist.
    Own(BaselineId),
    /// A predefined baseline, which exists.
    Predefined(BaselineId),
    /// Well formed, but of another account, another region, or a predefined one that there is not.
    Elsewhere,
}

/// A text that cannot name a patch baseline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MalformedReference {
    /// What was given, shortened.
    pub given: String,
}

impl From<MalformedReference> for Refused {
    fn from(malformed: MalformedReference) -> Self {
        Self::InvalidResourceId { id: malformed.given }
    }
}

impl BaselineReference {
    /// Reads what a caller of this scope gives as a baseline's id.
    ///
    /// # Errors
    /// When it has the form of neither an id nor a patch baseline's ARN.
    pub fn parse(given: &str, scope: &Scope) -> Result<Self, MalformedReference> {
        let malformed = || MalformedReference { given: shortened(given) };
        if let Ok(id) = BaselineId::parse(given) {
            return Ok(Self::Own(id));
        }
        let mut parts = given.splitn(6, ':');
        let mut part = || parts.next().ok_or_else(malformed);
        let (arn, partition, service, region, account, resource) =
            (part()?, part()?, part()?, part()?, part()?, part()?);
        if arn != "arn" || !partition.starts_with("aws") || service != "ssm" {
            return Err(malformed());
        }
        let id = resource.strip_prefix("patchbaseline/").ok_or_else(malformed)?;
        let id = BaselineId::parse(id).map_err(|_| malformed())?;
        if partition != "aws" || region != scope.region.as_str() {
            return Ok(Self::Elsewhere);
        }
        if account == PREDEFINED_OWNER_ACCOUNT && predefined_by_id(&id).is_some() {
            return Ok(Self::Predefined(id));
        }
        Ok(if account == scope.account.as_str() { Self::Own(id) } else { Self::Elsewhere })
    }

    /// The id of the row to load, where there can be one.
    #[must_use]
    pub fn own_id(&self) -> Option<&BaselineId> {
        if let Self::Own(id) = self { Some(id) } else { None }
    }
}

/// The baseline that `reference` names. `own` is the row under [`BaselineReference::own_id`], if there is one.
/// A predefined baseline has revision 0: it is never written.
///
/// # Errors
/// [`Refused::DoesNotExist`] when there is none, in AWS's words.
pub fn find_baseline(
    reference: &BaselineReference,
    own: &Versioned<Option<PatchBaseline>>,
) -> Result<Versioned<PatchBaseline>, Refused> {
    let found = match reference {
        BaselineReference::Own(id) => own
            .row
            .as_ref()
            .filter(|row| row.id == *id)
            .map(|row| Versioned { revision: own.revision, row: row.clone() }),
        BaselineReference::Predefined(id) => predefined_by_id(id).map(|row| Versioned { revision: Revision(0), row }),
        BaselineReference::Elsewhere => None,
    };
    found.ok_or_else(|| Refused::DoesNotExist("Patch Baseline to be retrieved does not exist.".to_owned()))
}

pub(crate) fn predefined_arn(region: &Region, id: &BaselineId) -> String {
    format!("arn:aws:ssm:{region}:{PREDEFINED_OWNER_ACCOUNT}:patchbaseline/{id}")
}

/// At most 64 characters of a caller's text, for messages.
pub(crate) fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use identifiers::AccountId;

    fn scope() -> Scope {
        Scope { account: AccountId::parse("000000000000").unwrap(), region: Region::parse("eu-west-1").unwrap() }
    }

    fn read(given: &str) -> Result<BaselineReference, MalformedReference> {
        BaselineReference::parse(given, &scope())
    }

    #[test]
    fn a_bare_id_or_an_arn_of_this_scope_names_an_own_baseline() {
        let id = BaselineId::parse("pb-00112233445566778").unwrap();
        assert_eq!(read("pb-00112233445566778"), Ok(BaselineReference::Own(id.clone())));
        let arn = "arn:aws:ssm:eu-west-1:000000000000:patchbaseline/pb-00112233445566778";
        assert_eq!(read(arn), Ok(BaselineReference::Own(id)));
    }

    #[test]
    fn a_predefined_baseline_is_named_by_the_arn_of_this_region_alone() {
        let id = BaselineId::parse("pb-09a5f8eb62bde80b1").unwrap();
        let arn = "arn:aws:ssm:eu-west-1:075727635805:patchbaseline/pb-09a5f8eb62bde80b1";
        assert_eq!(read(arn), Ok(BaselineReference::Predefined(id.clone())));
        let nothing = Versioned { revision: Revision(0), row: None };
        let found = find_baseline(&read(arn).unwrap(), &nothing).unwrap();
        assert_eq!(found.row.public_id(&scope().region), arn);

        let bare = read("pb-09a5f8eb62bde80b1").unwrap();
        assert_eq!(bare, BaselineReference::Own(id));
        assert!(matches!(find_baseline(&bare, &nothing), Err(Refused::DoesNotExist(_))));
    }

    #[test]
    fn arns_of_other_places_are_unknown_and_not_malformed() {
        for arn in [
            "arn:aws:ssm:us-east-1:000000000000:patchbaseline/pb-00112233445566778",
            "arn:aws:ssm:eu-west-1:111111111111:patchbaseline/pb-00112233445566778",
            "arn:aws:ssm:eu-west-1:075727635805:patchbaseline/pb-00112233445566778",
            "arn:aws-cn:ssm:eu-west-1:000000000000:patchbaseline/pb-00112233445566778",
        ] {
            assert_eq!(read(arn), Ok(BaselineReference::Elsewhere), "{arn}");
        }
    }

    #[test]
    fn other_texts_are_malformed() {
        for text in [
            "",
            "pb-1",
            "pb-0011223344556677G",
            "not-a-baseline-but-long-enough",
            "arn:aws:ssm:eu-west-1:000000000000:document/pb-00112233445566778",
            "arn:aws:ssm:eu-west-1:000000000000:patchbaseline/pb-1",
            "arn:aws:ec2:eu-west-1:000000000000:patchbaseline/pb-00112233445566778",
            "arn:aws:ssm:eu-west-1",
        ] {
            let refused = Refused::from(read(text).unwrap_err());
            assert_eq!(refused.aws_code(), "InvalidResourceId", "{text}");
        }
    }
}
