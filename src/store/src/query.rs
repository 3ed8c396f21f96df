//! Lists with filters and pages.

use std::sync::Arc;

use model::{Kind, Resource};

use crate::state::State;

/// A list request.
#[derive(Clone, Debug)]
pub struct Query {
    /// Which kind.
    pub kind: Kind,
    /// One mesh, or all.
    pub mesh: Option<String>,
    /// How many matches to skip.
    pub offset: usize,
    /// How many to return at most.
    pub size: usize,
}

/// One page of a list.
#[derive(Clone, Debug)]
pub struct Page {
    /// The matches of this page, ordered by mesh and name.
    pub items: Vec<Arc<Resource>>,
    /// How many match in all.
    pub total: usize,
    /// The offset of the next page; `None` on the last, and on an empty one.
    pub next: Option<usize>,
}

impl State {
    /// The page of the resources of `query` that `matches` lets through.
    pub fn list(&self, query: &Query, matches: impl Fn(&Resource) -> bool) -> Page {
        let mut items = Vec::new();
        let mut total = 0;
        let mut visit = |resource: &Arc<Resource>| {
            if matches(resource) {
                if total >= query.offset && items.len() < query.size {
                    items.push(Arc::clone(resource));
                }
                total += 1;
            }
        };
        match &query.mesh {
            Some(mesh) => self.in_mesh(query.kind, mesh).for_each(&mut visit),
            None => self.of_kind(query.kind).for_each(&mut visit),
        }
        let end = query.offset.saturating_add(items.len());
        let next = (!items.is_empty() && end < total).then_some(end);
        Page { items, total, next }
    }
}
