//! The `actors` crate.
