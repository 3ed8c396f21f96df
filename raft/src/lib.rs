//! The `raft` crate.
