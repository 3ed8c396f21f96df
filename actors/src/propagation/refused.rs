//! A refused resource, and what is known of who brought it.

use std::sync::Arc;

use model::Key;
use xds::session::Rejection;

/// A resource that a proxy refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedResource {
    /// What was refused, and in which words.
    pub rejection: Rejection,
    /// Policies and other stored resources without which it would not have been sent, ordered; empty
    /// as long as, or when, that is not known.
    pub causes: Arc<[Key]>,
}
