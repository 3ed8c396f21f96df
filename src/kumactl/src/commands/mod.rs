//! The commands, one file each.

pub(crate) mod apply;
pub(crate) mod backup;
pub(crate) mod delete;
pub(crate) mod export;
pub(crate) mod generate;
pub(crate) mod get;
pub(crate) mod inspect;
pub(crate) mod raft;
pub(crate) mod wait;
