//! From a backend reference to the destination that it means.

use std::sync::Arc;

use crate::destinations::{Destination, Destinations};
use crate::target_ref::{section_of, service_kind};
use model::Kri;
use model::kinds::target_ref::BackendRef;

/// A backend that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolvedBackend {
    /// The destination, with the section as written.
    pub kri: Kri,
    /// The destination itself.
    pub destination: Arc<Destination>,
    /// Share of the traffic.
    pub weight: u32,
}

/// Finds the destination of `backend`, which stands in a resource of namespace `namespace` (empty
/// for none): a name without a namespace means one of the same namespace. Of several the oldest is
/// taken. `None` when there is none.
pub fn resolve(namespace: &str, backend: &BackendRef, destinations: &Destinations) -> Option<ResolvedBackend> {
    let kind = service_kind(&backend.target.kind)?;
    let mut labels = backend.target.labels.clone().filter(|labels| !labels.is_empty())?;
    if !namespace.is_empty()
        && backend.target.label("kuma.io/display-name").is_some()
        && backend.target.label("k8s.kuma.io/namespace").is_none()
    {
        labels.insert("k8s.kuma.io/namespace".to_owned(), namespace.to_owned());
    }
    let candidates = destinations.select(kind, &labels);
    let destination = candidates
        .into_iter()
        .min_by(|a, b| (a.resource.meta.creation_time, &a.kri).cmp(&(b.resource.meta.creation_time, &b.kri)))?;
    let kri = destination.kri.with_section(&section_of(backend));
    Some(ResolvedBackend { kri, destination, weight: backend.weight })
}
