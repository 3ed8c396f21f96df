//! The `store-conformance` crate.
