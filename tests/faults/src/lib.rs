//! Replicas under faults: three real control planes behind wires that can be cut, clients that write
//! and read at all of them, real Envoys whose requests must not fail, a nemesis that kills, pauses,
//! parts and damages, and a checker of the history.

pub mod checker;
mod clients;
mod clock;
mod disk;
mod group;
pub mod history;
pub mod latency;
mod namespaces;
mod nemesis;
mod plan;
mod relay;
mod traffic;
mod wires;

pub use namespaces::possible as namespaces_are_possible;
pub use nemesis::run;
pub use plan::{Fault, Plan, Report};
