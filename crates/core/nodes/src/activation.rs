use crate::managed_node::{ManagedNode, NodeFacts, NodePublicKey, NodeState};
use crate::tags::{ResourceType, read_tags};
use crate::write::{activation_aggregate, node_aggregate, tags_aggregate};
use crate::{Refused, TagResource, Tags, Write};
use changes::{Changes, Event, Revision, Versioned};
use identifiers::{ActivationId, IdSource, NodeId, Timestamp};
use serde::Serialize;

/// The longest that an activation may be open.
const OPEN_DAYS_MAX: i64 = 30;
const DAY_SECONDS: i64 = 86_400;
const REGISTRATION_LIMIT_MAX: i64 = 1000;

/// The digest of an activation's code. The code itself is shown once and kept nowhere; this is never printed either.
#[derive(Clone, PartialEq, Eq)]
pub struct CodeHash(Vec<u8>);

impl CodeHash {
    /// Wraps the digest that the identity adapter made.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The digest, for the store and for the comparison in constant time.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for CodeHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CodeHash(not shown)")
    }
}

/// An open door for so many nodes until some day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Activation {
    /// Its id, the public half.
    pub id: ActivationId,
    /// The secret half, hashed.
    #[serde(skip)]
    pub code_secret_hash: CodeHash,
    /// The role name that its nodes get.
    pub iam_role: String,
    /// For people.
    pub description: String,
    /// The `Name` that its nodes get; may be empty.
    pub default_instance_name: String,
    /// How many nodes it admits: 1 to 1000.
    pub registration_limit: u32,
    /// How many came in by it.
    pub registrations_count: u32,
    /// When it closes.
    pub expires_at: Timestamp,
    /// When it was made.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: String,
    /// What its nodes are tagged with.
    pub tags: Tags,
}

impl Activation {
    /// Whether its time is up. Nodes that came in by it are not affected.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        now >= self.expires_at
    }
}

/// What `CreateActivation` asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ActivationRequest {
    /// The role name, with its path if it has one; never an ARN.
    pub iam_role: String,
    /// At most 256 characters.
    pub description: Option<String>,
    /// At most 256 characters.
    pub default_instance_name: Option<String>,
    /// 1 to 1000; default 1.
    pub registration_limit: Option<i64>,
    /// At most 30 days ahead; default 24 hours.
    pub expires_at: Option<Timestamp>,
    /// What its nodes are to be tagged with.
    pub tags: Vec<(String, String)>,
    /// Who asks.
    pub created_by: String,
}

/// Checks a role name: 1 to 64 characters of `[A-Za-z0-9_+=,.@-]` in segments separated by `/` (IAM's path).
///
/// Careen has no IAM behind it: the name is kept and shown, and any well-formed one is taken.
pub(crate) fn check_role(iam_role: &str) -> Result<(), Refused> {
    let segment = |s: &str| {
        !s.is_empty()
            && s.bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'+' | b'=' | b',' | b'.' | b'@' | b'-'))
    };
    if (1..=64).contains(&iam_role.len()) && iam_role.split('/').all(segment) {
        return Ok(());
    }
    let shown: String = iam_role.chars().take(64).collect();
    Err(Refused::Validation(format!(
        "1 validation error detected: Value '{shown}' at 'iamRole' failed to satisfy constraint: Member must be the name of a \
         role, not its ARN, with at most 64 characters"
    )))
}

fn check_length(member: &str, text: &str) -> Result<(), Refused> {
    let fits = text.chars().count() <= 256 && !text.chars().any(char::is_control);
    if fits {
        return Ok(());
    }
    Err(Refused::Validation(format!(
        "1 validation error detected: Value at '{member}' failed to satisfy constraint: Member must have length less than or \
         equal to 256 and no control characters"
    )))
}

/// Opens a door for nodes.
///
/// # Errors
/// [`Refused::Validation`] for values of another form, [`Refused::InvalidParameters`] for an expiry that has passed or
/// is more than 30 days ahead.
pub fn create_activation(
    request: &ActivationRequest,
    code_secret_hash: CodeHash,
    now: Timestamp,
    ids: &mut dyn IdSource,
) -> Result<(Activation, Changes<Write>), Refused> {
    check_role(&request.iam_role)?;
    let description = request.description.clone().unwrap_or_default();
    check_length("description", &description)?;
    let default_instance_name = request.default_instance_name.clone().unwrap_or_default();
    check_length("defaultInstanceName", &default_instance_name)?;
    let limit = request.registration_limit.unwrap_or(1);
    let registration_limit = u32::try_from(limit).ok().filter(|_| (1..=REGISTRATION_LIMIT_MAX).contains(&limit));
    let registration_limit = registration_limit.ok_or_else(|| {
        Refused::Validation(format!(
            "1 validation error detected: Value '{limit}' at 'registrationLimit' failed to satisfy constraint: Member must be \
             between 1 and {REGISTRATION_LIMIT_MAX}"
        ))
    })?;
    let expires_at = request.expires_at.unwrap_or_else(|| now.plus_seconds(DAY_SECONDS));
    if expires_at <= now {
        return Err(Refused::InvalidParameters("The expiration date must be in the future.".to_owned()));
    }
    if expires_at > now.plus_seconds(OPEN_DAYS_MAX * DAY_SECONDS) {
        return Err(Refused::InvalidParameters(format!(
            "The expiration date must be at most {OPEN_DAYS_MAX} days from now."
        )));
    }
    let activation = Activation {
        id: ActivationId::generate(ids),
        code_secret_hash,
        iam_role: request.iam_role.clone(),
        description,
        default_instance_name,
        registration_limit,
        registrations_count: 0,
        expires_at,
        created_at: now,
        created_by: request.created_by.clone(),
        tags: read_tags(ResourceType::ManagedInstance, &request.tags)?,
    };
    let mut changes = Changes::new();
    changes.update(activation_aggregate(&activation.id), Revision::default());
    changes.writes.push(Write::ActivationPut(Box::new(activation.clone())));
    changes.events.push(event(now, "activation.created", activation.id.as_str()));
    Ok((activation, changes))
}

/// Closes a door. Nodes that came in by it stay.
#[must_use]
pub fn delete_activation(activation: &Versioned<Activation>, now: Timestamp) -> Changes<Write> {
    let id = &activation.row.id;
    let mut changes = Changes::new();
    changes.update(activation_aggregate(id), activation.revision);
    changes.writes.push(Write::ActivationDelete(id.clone()));
    changes.events.push(event(now, "activation.deleted", id.as_str()));
    changes
}

/// Lets a node in by an activation whose code it has shown. `None`: there is no such activation (any more).
///
/// Whoever holds the code learns whether the activation is expired or used up. A wrong code must tell a stranger nothing, so
/// the caller compares the code first and passes `None` for a wrong one, just as for an unknown id.
///
/// # Errors
/// [`Refused::InvalidActivation`] when it is deleted, expired or used up.
pub fn register_node(
    activation: Option<&Versioned<Activation>>,
    facts: NodeFacts,
    public_key: NodePublicKey,
    now: Timestamp,
    ids: &mut dyn IdSource,
) -> Result<(NodeId, Changes<Write>), Refused> {
    let activation = activation.ok_or_else(|| invalid("The activation is not valid. Create a new one."))?;
    let row = &activation.row;
    if row.is_expired(now) {
        return Err(invalid(&format!("The activation expired at {}. Create a new one.", row.expires_at.to_human())));
    }
    if row.registrations_count >= row.registration_limit {
        return Err(invalid(&format!(
            "The activation's registration limit of {} is reached. Create a new one.",
            row.registration_limit
        )));
    }
    let node = ManagedNode {
        node_id: NodeId::generate(ids),
        activation_id: row.id.clone(),
        iam_role: row.iam_role.clone(),
        name: row.default_instance_name.clone(),
        registered_at: now,
        public_key,
        facts: facts.bounded(),
        state: NodeState::Registered,
        deregistered_at: None,
        inventory_digest: None,
        inventory_at: None,
        held: None,
    };
    let node_id = node.node_id.clone();
    let mut changes = Changes::new();
    changes.update(activation_aggregate(&row.id), activation.revision);
    changes.update(node_aggregate(&node_id), Revision::default());
    let counted = Activation { registrations_count: row.registrations_count.saturating_add(1), ..row.clone() };
    changes.writes.push(Write::ActivationPut(Box::new(counted)));
    changes.writes.push(Write::NodePut(Box::new(node)));
    let resource = TagResource::node(&node_id);
    if !row.tags.is_empty() {
        changes.update(tags_aggregate(&resource), Revision::default());
    }
    changes.writes.extend(row.tags.iter().map(|(key, value)| Write::TagPut {
        resource: resource.clone(),
        key: key.clone(),
        value: value.clone(),
    }));
    changes.events.push(event(now, "node.registered", node_id.as_str()));
    Ok((node_id, changes))
}

fn invalid(text: &str) -> Refused {
    Refused::InvalidActivation(text.to_owned())
}

fn event(at: Timestamp, kind: &str, subject: &str) -> Event {
    Event { at, kind: kind.to_owned(), subject: subject.to_owned(), body: serde_json::Value::Null }
}

/// One filter of `DescribeActivations`. All given must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ActivationFilter {
    /// By id.
    ActivationIds(Vec<String>),
    /// By the name that its nodes get.
    DefaultInstanceName(Vec<String>),
    /// By role.
    IamRole(Vec<String>),
}

impl ActivationFilter {
    /// Reads `FilterKey` and `FilterValues`.
    ///
    /// # Errors
    /// [`Refused::InvalidFilter`] for another key.
    pub fn parse(key: &str, values: &[String]) -> Result<Self, Refused> {
        match key {
            "ActivationIds" => Ok(Self::ActivationIds(values.to_vec())),
            "DefaultInstanceName" => Ok(Self::DefaultInstanceName(values.to_vec())),
            "IamRole" => Ok(Self::IamRole(values.to_vec())),
            _ => Err(Refused::InvalidFilter("The filter key isn't valid for activations.".to_owned())),
        }
    }

    /// Whether the activation is meant.
    #[must_use]
    pub fn matches(&self, activation: &Activation) -> bool {
        let (values, found) = match self {
            Self::ActivationIds(values) => (values, activation.id.as_str()),
            Self::DefaultInstanceName(values) => (values, activation.default_instance_name.as_str()),
            Self::IamRole(values) => (values, activation.iam_role.as_str()),
        };
        values.iter().any(|value| value == found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::managed_node::tests::facts;
    use identifiers::SeededIds;

    fn now() -> Timestamp {
        Timestamp::from_seconds(1_000_000)
    }

    fn request() -> ActivationRequest {
        ActivationRequest { iam_role: "Fleet".into(), created_by: "key/ADMIN".into(), ..Default::default() }
    }

    fn create(request: &ActivationRequest) -> Result<Activation, Refused> {
        create_activation(request, CodeHash::new(vec![1, 2, 3]), now(), &mut SeededIds::new(1)).map(|(made, _)| made)
    }

    #[test]
    fn defaults_are_one_node_and_a_day() {
        let made = create(&request()).unwrap();
        assert_eq!((made.registration_limit, made.expires_at), (1, now().plus_seconds(86_400)));
        assert!(!format!("{made:?}").contains("[1, 2, 3]"));
        assert!(!serde_json::to_string(&made).unwrap().contains("[1,2,3]"), "nor in the audit");
    }

    #[test]
    fn an_activation_has_bounds() {
        let day = 86_400;
        let cases: Vec<(&str, ActivationRequest, Option<&str>)> = vec![
            ("role with path", ActivationRequest { iam_role: "service-role/Fleet".into(), ..request() }, None),
            ("no role", ActivationRequest { iam_role: String::new(), ..request() }, Some("ValidationException")),
            (
                "an ARN",
                ActivationRequest { iam_role: "arn:aws:iam::1:role/A".into(), ..request() },
                Some("ValidationException"),
            ),
            ("empty segment", ActivationRequest { iam_role: "a//b".into(), ..request() }, Some("ValidationException")),
            ("65 characters", ActivationRequest { iam_role: "r".repeat(65), ..request() }, Some("ValidationException")),
            ("limit 0", ActivationRequest { registration_limit: Some(0), ..request() }, Some("ValidationException")),
            ("limit 1000", ActivationRequest { registration_limit: Some(1000), ..request() }, None),
            (
                "limit 1001",
                ActivationRequest { registration_limit: Some(1001), ..request() },
                Some("ValidationException"),
            ),
            ("30 days", ActivationRequest { expires_at: Some(now().plus_seconds(30 * day)), ..request() }, None),
            (
                "31 days",
                ActivationRequest { expires_at: Some(now().plus_seconds(30 * day + 1)), ..request() },
                Some("InvalidParameters"),
            ),
            ("now", ActivationRequest { expires_at: Some(now()), ..request() }, Some("InvalidParameters")),
            (
                "name",
                ActivationRequest { default_instance_name: Some("n".repeat(257)), ..request() },
                Some("ValidationException"),
            ),
            (
                "bad tag",
                ActivationRequest { tags: vec![("aws:x".into(), String::new())], ..request() },
                Some("ValidationException"),
            ),
        ];
        for (what, request, code) in cases {
            assert_eq!(create(&request).err().map(|e| e.code()), code, "{what}");
        }
    }

    #[test]
    fn a_node_comes_in_with_role_name_and_tags() {
        let wanted = ActivationRequest {
            default_instance_name: Some("web".into()),
            tags: vec![("PatchGroup".into(), "web".into())],
            ..request()
        };
        let door = Versioned::new(Revision(4), create(&wanted).unwrap());
        let key = NodePublicKey([9; 32]);
        let (id, changes) = register_node(Some(&door), facts(), key, now(), &mut SeededIds::new(2)).unwrap();
        assert_eq!(
            changes.read[0],
            (activation_aggregate(&door.row.id), Revision(4)),
            "two nodes cannot both be the last"
        );
        assert_eq!(changes.read[1], (node_aggregate(&id), Revision(0)));
        let [Write::ActivationPut(counted), Write::NodePut(node), tag] = &changes.writes[..] else {
            panic!("{:?}", changes.writes)
        };
        assert_eq!(counted.registrations_count, 1);
        assert_eq!((node.iam_role.as_str(), node.name.as_str(), node.public_key), ("Fleet", "web", key));
        let expected =
            Write::TagPut { resource: TagResource::node(&id), key: "PatchGroup".into(), value: "web".into() };
        assert_eq!(tag, &expected);
    }

    #[test]
    fn a_closed_door_admits_nobody() {
        let open = create(&request()).unwrap();
        let used_up = Activation { registrations_count: 1, ..open.clone() };
        let expired = Activation { expires_at: now(), ..open.clone() };
        for (what, door, admitted) in [
            ("open", Some(open), true),
            ("used up", Some(used_up), false),
            ("expired", Some(expired), false),
            ("deleted", None, false),
        ] {
            let door = door.map(|row| Versioned::new(Revision(1), row));
            let key = NodePublicKey([9; 32]);
            let found = register_node(door.as_ref(), facts(), key, now(), &mut SeededIds::new(2));
            assert_eq!(found.as_ref().err().map(Refused::code), (!admitted).then_some("InvalidActivation"), "{what}");
        }
    }

    #[test]
    fn activations_are_filtered_by_three_keys() {
        let made = create(&ActivationRequest { default_instance_name: Some("web".into()), ..request() }).unwrap();
        let id = made.id.to_string();
        for (key, value, expected) in [
            ("ActivationIds", id.as_str(), Ok(true)),
            ("ActivationIds", "other", Ok(false)),
            ("DefaultInstanceName", "web", Ok(true)),
            ("IamRole", "Fleet", Ok(true)),
            ("IamRole", "fleet", Ok(false)),
            ("Expired", "true", Err("InvalidFilter")),
        ] {
            let found = ActivationFilter::parse(key, &["x".to_owned(), value.to_owned()]);
            assert_eq!(found.map(|f| f.matches(&made)).map_err(|e| e.code()), expected, "{key}={value}");
        }
    }

    #[test]
    fn a_deleted_activation_is_gone() {
        let door = Versioned::new(Revision(4), create(&request()).unwrap());
        let changes = delete_activation(&door, now());
        assert_eq!(changes.writes, [Write::ActivationDelete(door.row.id.clone())]);
        assert_eq!(changes.read, [(activation_aggregate(&door.row.id), Revision(4))]);
    }
}
