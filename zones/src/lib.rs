//! Global control planes and their zones: what flows between them, and under which names.
//!
//! This is the head of the crate: the rules that both ends and the tools that look at their stores
//! share. The links that carry resources, Kuma's own protocol (KDS) and cross-zone services stand on
//! these rules.

pub mod flow;
pub mod hashed_name;

pub use flow::Direction;
pub use hashed_name::hashed_name;
