//! The part that serves proxies, as the API asks it.

use std::sync::Arc;

use actors::ControlPlane;
use api::running::{PendingProxy, Propagation, RejectingProxy, Running};
use store::Revision;
use xds::MeshView;

/// [`ControlPlane`] in the words of the API.
pub(crate) struct Proxies(pub(crate) ControlPlane);

impl Running for Proxies {
    fn view(&self, mesh: &str) -> Option<(Arc<MeshView>, Revision)> {
        self.0.view(mesh)
    }

    fn propagation(&self, revision: Revision) -> Propagation {
        let found = self.0.propagation(revision);
        let pending = found.pending.iter().map(|proxy| PendingProxy {
            mesh: proxy.mesh.to_string(),
            name: proxy.name.to_string(),
            for_ms: u64::try_from(proxy.age.as_millis()).unwrap_or(u64::MAX),
        });
        let rejected = found.rejected.iter().map(|proxy| RejectingProxy {
            mesh: proxy.mesh.to_string(),
            name: proxy.name.to_string(),
            message: proxy.rejections.iter().map(|rejection| &*rejection.message).collect::<Vec<_>>().join("; "),
        });
        Propagation {
            folded: found.folded,
            concerned: found.concerned,
            acknowledged: found.acked,
            pending: pending.collect(),
            rejected: rejected.collect(),
        }
    }
}
