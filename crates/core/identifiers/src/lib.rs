//! Names for things: ids, ARNs, [`Scope`], instants ([`Timestamp`]), page positions and the source of randomness ([`IdSource`]).
//!
//! It decides what a well-formed id is, once, when it is parsed. It deliberately does not know what any id stands
//! for, whether the thing exists, or where randomness and the clock come from: both enter as arguments.

mod id_source;
mod ids;
mod page;
mod period;
mod scope;
mod timestamp;

pub use id_source::{IdSource, SeededIds};
pub use ids::{
    AccessKeyId, ActivationId, BaselineId, CommandId, DocumentName, IdError, JobId, NodeId, PatchGroupName, RequestId,
    UserName,
};
pub use page::PagePosition;
pub use period::{Period, PeriodError};
pub use scope::{AccountId, Region, Scope};
pub use timestamp::{Timestamp, TimestampError};
