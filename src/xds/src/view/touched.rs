//! Which proxies a batch of changes can concern.

use std::collections::BTreeSet;
use std::sync::Arc;

/// The dataplanes, by name, whose proxies a batch of changes can concern. The others need not be
/// asked: their configuration is the same as before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Touched {
    /// No proxy.
    #[default]
    None,
    /// These.
    Some(BTreeSet<Arc<str>>),
    /// Every proxy of the mesh.
    All,
}

impl Touched {
    /// Whether the dataplane of this name is concerned.
    pub fn contains(&self, dataplane: &str) -> bool {
        match self {
            Self::None => false,
            Self::Some(names) => names.contains(dataplane),
            Self::All => true,
        }
    }

    /// What either concerns: for batches that are delivered together.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::All, _) | (_, Self::All) => Self::All,
            (Self::None, other) | (other, Self::None) => other,
            (Self::Some(mut names), Self::Some(others)) => {
                names.extend(others);
                Self::Some(names)
            }
        }
    }

    pub(super) fn add(&mut self, dataplane: &Arc<str>) {
        match self {
            Self::None => *self = Self::Some(BTreeSet::from([Arc::clone(dataplane)])),
            Self::Some(names) => {
                names.insert(Arc::clone(dataplane));
            }
            Self::All => {}
        }
    }
}
