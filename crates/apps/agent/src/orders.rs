//! Which orders are obeyed.

use crate::keys;
use agent_wire::{Bytes32, Order, OrderBody, SignedOrder};
use identifiers::{JobId, NodeId, Timestamp};

/// More steps than this no document has.
const STEPS_MAX: usize = 100;

/// What an order is measured by.
#[derive(Debug, Clone)]
pub(crate) struct Standing<'a> {
    pub(crate) node_id: &'a NodeId,
    /// The keys that the server may sign with.
    pub(crate) job_keys: &'a [Bytes32],
    /// The highest incarnation seen.
    pub(crate) incarnation: u64,
    /// Ids of jobs are forgotten whose orders expired up to here.
    pub(crate) forgotten_until: Timestamp,
    /// The true time, as far as it is known.
    pub(crate) now: Timestamp,
}

/// Why an order is not obeyed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OrderRefusal {
    /// As a sentence.
    pub(crate) reason: String,
    /// The job it named, if that could be read and the signature holds: else anybody may have written it, and a forged
    /// order must not end a real job.
    pub(crate) job_id: Option<JobId>,
}

/// Reads an order and decides whether it is obeyed. Whether its job was seen before is not decided here.
pub(crate) fn judge(signed: &SignedOrder, standing: &Standing<'_>) -> Result<Order, OrderRefusal> {
    let text = agent_wire::order_text(&signed.payload);
    if !standing.job_keys.iter().any(|key| keys::holds(key, &text, &signed.signature)) {
        let reason =
            "It is not signed with the key that was given at registration, nor with one announced since.".to_owned();
        return Err(OrderRefusal { reason, job_id: None });
    }
    let order = agent_wire::read::<Order>(&signed.payload);
    let job_id = order.as_ref().ok().map(|order| match &order.body {
        OrderBody::Run(job) => job.job_id.clone(),
        OrderBody::Cancel { job_id } => job_id.clone(),
    });
    let refused = |reason: String| Err(OrderRefusal { reason, job_id: job_id.clone() });
    let order = match order {
        Ok(order) => order,
        Err(e) => return refused(format!("It is signed but cannot be understood: {e}.")),
    };
    if order.node_id != *standing.node_id {
        return refused(format!("It is for another node, {}.", order.node_id));
    }
    if order.incarnation < standing.incarnation {
        let (theirs, ours) = (order.incarnation, standing.incarnation);
        return refused(format!("It is of incarnation {theirs} of the server's database; {ours} has been seen."));
    }
    if order.expires_at <= standing.now {
        // No job is named: what is too late by this clock may come again and be in time by another, when a clock was set.
        // Whether the job is over, its own end of delivery says.
        let reason = format!("It expired at {}; it is {}.", order.expires_at, standing.now);
        return Err(OrderRefusal { reason, job_id: None });
    }
    if order.expires_at <= standing.forgotten_until {
        let reason =
            "It expires before orders that have been forgotten already: it cannot be told whether it was obeyed.";
        return refused(reason.to_owned());
    }
    if let OrderBody::Run(job) = &order.body
        && job.steps.len() > STEPS_MAX
    {
        return refused(format!("It has {} steps; {STEPS_MAX} are allowed.", job.steps.len()));
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::NodeKey;
    use agent_wire::{Bytes64, Job, Step, StepAction};
    use identifiers::{CommandId, RequestId};
    use proptest::prelude::*;

    const UUID: &str = "11111111-2222-4333-8444-555555555555";

    struct Server {
        key: NodeKey,
        public: Bytes32,
        node_id: NodeId,
    }

    impl Server {
        fn new() -> Self {
            let key = NodeKey::make().unwrap();
            let public = key.public().unwrap();
            Self { key, public, node_id: NodeId::parse("mi-0123456789abcdef0").unwrap() }
        }

        fn order(&self) -> Order {
            let job = Job {
                job_id: JobId::parse(UUID).unwrap(),
                command_id: CommandId::parse(UUID).unwrap(),
                document_name: "AWS-RunShellScript".to_owned(),
                steps: Vec::new(),
            };
            Order {
                node_id: self.node_id.clone(),
                incarnation: 3,
                issued_at: Timestamp::from_seconds(900),
                expires_at: Timestamp::from_seconds(1100),
                request_id: RequestId::parse(UUID).unwrap(),
                body: OrderBody::Run(job),
            }
        }

        fn sign(&self, payload: String) -> SignedOrder {
            let signature = self.key.sign(&agent_wire::order_text(&payload)).unwrap();
            SignedOrder { payload, signature }
        }

        fn judged(&self, order: &Order) -> Result<Order, OrderRefusal> {
            judge(&self.sign(agent_wire::write(order).unwrap()), &self.standing())
        }

        fn standing(&self) -> Standing<'_> {
            Standing {
                node_id: &self.node_id,
                job_keys: std::slice::from_ref(&self.public),
                incarnation: 3,
                forgotten_until: Timestamp::from_seconds(500),
                now: Timestamp::from_seconds(1000),
            }
        }
    }

    #[test]
    fn a_good_order_is_obeyed() {
        let server = Server::new();
        assert_eq!(server.judged(&server.order()), Ok(server.order()));
    }

    #[test]
    fn orders_that_are_not_ours_or_not_of_now_are_refused() {
        let server = Server::new();
        type Change = fn(&mut Order);
        let too_many: Change = |order| {
            let action = StepAction::Skip { reason: String::new() };
            let step = Step { name: "x".to_owned(), plugin: "x".to_owned(), timeout_seconds: 1, action };
            let OrderBody::Run(job) = &mut order.body else { return };
            job.steps = vec![step; STEPS_MAX + 1];
        };
        let changes: [(&str, Change); 4] = [
            ("another node", |order| order.node_id = NodeId::parse("mi-0123456789abcdef1").unwrap()),
            ("incarnation 2", |order| order.incarnation = 2),
            ("expired at", |order| order.expires_at = Timestamp::from_seconds(1000)),
            ("101 steps", too_many),
        ];
        for (words, change) in changes {
            let mut order = server.order();
            change(&mut order);
            let refusal = server.judged(&order).unwrap_err();
            assert!(refusal.reason.contains(words), "{refusal:?}");
            let named = (words != "expired at").then(|| JobId::parse(UUID).unwrap());
            assert_eq!(refusal.job_id, named, "a job that may still be obeyed is not ended");
        }
        let standing = Standing { forgotten_until: Timestamp::from_seconds(1100), ..server.standing() };
        let signed = server.sign(agent_wire::write(&server.order()).unwrap());
        assert!(judge(&signed, &standing).unwrap_err().reason.contains("forgotten"));
    }

    #[test]
    fn a_changed_or_foreign_order_is_refused() {
        let (server, stranger) = (Server::new(), Server::new());
        let good = server.sign(agent_wire::write(&server.order()).unwrap());
        let changed =
            SignedOrder { payload: good.payload.replace("AWS-RunShellScript", "AWS-RunShellScripT"), ..good.clone() };
        let foreign = stranger.sign(good.payload.clone());
        let unsigned = SignedOrder { signature: Bytes64([0; 64]), ..good };
        for signed in [changed, foreign, unsigned] {
            let refusal = judge(&signed, &server.standing()).unwrap_err();
            assert!(refusal.reason.contains("not signed"), "{refusal:?}");
            assert_eq!(refusal.job_id, None, "a forged order must not end a real job");
        }
        let nonsense = server.sign("{\"node_id\":\"mi-\"}".to_owned());
        assert!(judge(&nonsense, &server.standing()).unwrap_err().reason.contains("cannot be understood"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_none_is_obeyed_unsigned(payload in "\\PC{0,200}") {
            let server = Server::new();
            let signed = SignedOrder { payload: payload.clone(), signature: Bytes64([7; 64]) };
            prop_assert!(judge(&signed, &server.standing()).is_err());
            let _ = judge(&server.sign(payload), &server.standing());
        }

        /// Orders that are nearly right: any one character of a good one replaced, and signed.
        #[test]
        fn no_nearly_right_order_makes_it_panic(at in 0usize..600, with in any::<char>()) {
            let server = Server::new();
            let good = agent_wire::write(&server.order()).unwrap();
            let text: String = good.chars().enumerate().map(|(place, c)| if place == at { with } else { c }).collect();
            let _ = judge(&server.sign(text), &server.standing());
        }
    }
}
