//! Replicas under faults: three real control planes behind wires that can be cut, clients that write
//! and read at all of them, real Envoys whose requests must not fail, a nemesis that kills, pauses,
//! parts and damages, and a checker of the history.

pub mod checker;
mod clients;
mod disk;
mod group;
pub mod history;
mod nemesis;
mod relay;
mod traffic;

pub use nemesis::{Plan, Report, run};
