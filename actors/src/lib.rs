//! The `actors` crate.

pub mod authority;
pub mod duties;
