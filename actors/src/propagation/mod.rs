//! Who has what: which proxies a revision concerns, which of them run it, which refused it.
//!
//! [`Audience`] is the plain state behind it, of one mesh. Each connected proxy that a revision
//! concerns is in exactly one of three states: it has not answered, it runs the revision, or it
//! refuses something that the revision brought. A proxy that connected later is concerned as well:
//! the revision is part of its first configuration.

mod audience;
mod recent;
mod refused;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use store::Revision;

pub(crate) use audience::{Audience, News};
pub(crate) use recent::Step;
pub use refused::RefusedResource;

/// Whether a revision is everywhere. The counts are of proxies that are connected to this process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Propagation {
    /// Whether every mesh has taken the revision in. Before that the rest is not final.
    pub folded: bool,
    /// Connected proxies that it concerns.
    pub concerned: usize,
    /// Those of them that run it.
    pub acked: usize,
    /// Those that have not answered yet.
    pub pending: Vec<PendingProxy>,
    /// Those that refused something that it brought.
    pub rejected: Vec<RejectingProxy>,
}

/// A proxy that has not answered yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingProxy {
    /// Its mesh.
    pub mesh: Arc<str>,
    /// Name of its Dataplane.
    pub name: Arc<str>,
    /// For how long.
    pub age: Duration,
}

/// A proxy that refused some of its configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectingProxy {
    /// Its mesh.
    pub mesh: Arc<str>,
    /// Name of its Dataplane.
    pub name: Arc<str>,
    /// What it refused, in which words, and who brought it.
    pub refusals: Vec<RefusedResource>,
}

/// What is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// One revision.
    One(Revision),
    /// Everything up to a revision.
    Upto(Revision),
}

impl Asked {
    /// The revision that must have been taken in for the answer to be final.
    pub(crate) fn revision(self) -> Revision {
        match self {
            Self::One(revision) | Self::Upto(revision) => revision,
        }
    }
}
