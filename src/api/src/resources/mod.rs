//! The endpoints of every kind: list, read, write, delete, and their overviews.

pub(crate) mod admission;
pub(crate) mod by_kri;
pub(crate) mod delete;
pub(crate) mod list;
pub(crate) mod mesh_defaults;
pub(crate) mod put;
pub(crate) mod read;
pub(crate) mod rules;
