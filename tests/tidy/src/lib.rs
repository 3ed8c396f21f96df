//! The `tidy` crate.
