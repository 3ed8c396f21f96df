//! Envoy: found, asked for its version, run, watched, stopped.

pub(crate) mod admin;
pub(crate) mod binary;
pub(crate) mod process;
