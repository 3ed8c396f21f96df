//! The `cases` crate.
