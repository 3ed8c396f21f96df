//! Which policies select a dataplane, and what they say together.
//!
//! A policy selects dataplanes by its top-level `targetRef` ([`selection`]). The selecting ones are
//! ordered ([`policy`]) and merged ([`merge`]) into rules: for each inbound ([`inbound`]), for each
//! destination ([`outbound`]), or for the proxy as a whole ([`book`]). Confs stay plain JSON until a
//! policy's own code asks for its type ([`conf`]), so every kind of policy works here.
//!
//! Work is done where it is shared: a policy is read and ranked once when it changes ([`set`]), `to`
//! items are resolved once for a picture of the mesh, and rules are made once for all dataplanes
//! that the same policies select ([`RuleBook`]).
//!
//! This crate is pure: no I/O, no clock, no randomness.

pub mod backend;
pub mod book;
pub mod conf;
pub mod destinations;
pub mod frame;
pub mod inbound;
pub mod matches_hash;
pub mod merge;
pub mod outbound;
pub mod policy;
pub mod selection;
pub mod set;
pub mod target_ref;

pub use backend::ResolvedBackend;
pub use book::{ProxyConf, RuleBook, Rules};
pub use conf::{Conf, ConfError};
pub use destinations::{Destination, Destinations, Port};
pub use frame::PolicyFrame;
pub use inbound::{InboundRule, InboundRules, RuleOrigin};
pub use outbound::{ResourceRule, ResourceRules};
pub use policy::{Fault, Origin, Policy, Role};
pub use selection::{InboundKey, Subject};
pub use set::{Matched, PolicySet, Shadow};
