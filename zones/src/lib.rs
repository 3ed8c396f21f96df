//! The `zones` crate.
