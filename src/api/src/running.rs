//! What the API asks of the running control plane, as far as there is one: tests and tools serve
//! the API from a store alone.

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use model::Key;
use serde::{Deserialize, Serialize};
use store::Revision;
use xds::MeshView;

/// The part of the control plane that serves proxies.
pub trait Running: Send + Sync + 'static {
    /// The picture of a mesh, and the revision that it shows; `None` when the mesh is not known.
    fn view(&self, mesh: &str) -> Option<(Arc<MeshView>, Revision)>;

    /// Which connected proxies a revision concerns, and which of them hold it; without a revision, which
    /// of all hold everything that there is.
    fn propagation(&self, revision: Option<Revision>) -> Propagation;

    /// Ends when every connected proxy that a revision concerns has answered it, or one has refused it.
    fn settled(&self, revision: Option<Revision>) -> Pin<Box<dyn Future<Output = ()> + Send>>;

    /// What could not be applied to connected proxies, and what they refused.
    fn faults(&self) -> Vec<ProxyFault>;
}

/// A part of a proxy's configuration that is not in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProxyFault {
    /// Mesh of the proxy.
    pub mesh: String,
    /// Name of its Dataplane.
    pub dataplane: String,
    /// The policy, or other resource, that could not be applied; of what Envoy refused, those that
    /// brought it, as far as that was found.
    pub origins: Vec<Origin>,
    /// The Envoy resource that was refused; absent for what was not sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub envoy_resource: Option<String>,
    /// Why.
    pub message: String,
}

/// The resource that a fault comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its mesh; empty for types of global scope.
    pub mesh: String,
    /// Its name.
    pub name: String,
}

impl From<&Key> for Origin {
    fn from(key: &Key) -> Self {
        Self { kind: key.kind.name.to_owned(), mesh: key.mesh.to_string(), name: key.name.to_string() }
    }
}

impl Origin {
    /// Whether it is the resource with this key.
    pub fn is(&self, key: &Key) -> bool {
        self.kind == key.kind.name && self.mesh == *key.mesh && self.name == *key.name
    }
}

/// Whether a revision is everywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Propagation {
    /// Whether every mesh has taken the revision in. Before that the rest is not final.
    pub folded: bool,
    /// Connected proxies whose configuration it changes.
    pub concerned: usize,
    /// Those of them that run it.
    pub acknowledged: usize,
    /// Those that have not answered yet.
    pub pending: Vec<PendingProxy>,
    /// Those that refused some of their configuration.
    pub rejected: Vec<RejectingProxy>,
}

/// A proxy that has not answered yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingProxy {
    /// Its mesh.
    pub mesh: String,
    /// Name of its Dataplane.
    pub name: String,
    /// For how long, in milliseconds.
    pub for_ms: u64,
}

/// A proxy that refused some of its configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RejectingProxy {
    /// Its mesh.
    pub mesh: String,
    /// Name of its Dataplane.
    pub name: String,
    /// What it refused, in its words.
    pub message: String,
    /// The policies and other resources that brought it, as far as that was found.
    pub origins: Vec<Origin>,
}

impl Running for actors::ControlPlane {
    fn view(&self, mesh: &str) -> Option<(Arc<MeshView>, Revision)> {
        actors::ControlPlane::view(self, mesh)
    }

    fn propagation(&self, revision: Option<Revision>) -> Propagation {
        match revision {
            Some(revision) => actors::ControlPlane::propagation(self, revision).into(),
            None => self.standing().into(),
        }
    }

    fn settled(&self, revision: Option<Revision>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let control_plane = self.clone();
        Box::pin(async move { actors::ControlPlane::settled(&control_plane, revision).await })
    }

    fn faults(&self) -> Vec<ProxyFault> {
        self.proxies().iter().flat_map(faults_of).collect()
    }
}

fn faults_of(proxy: &actors::ConnectedProxy) -> Vec<ProxyFault> {
    let fault = |origins, envoy_resource, message: &str| ProxyFault {
        mesh: proxy.id.mesh.to_string(),
        dataplane: proxy.id.name.to_string(),
        origins,
        envoy_resource,
        message: message.to_owned(),
    };
    let not_applied = proxy.faults.iter().map(|found| fault(vec![Origin::from(&found.key)], None, &found.message));
    let refused = proxy.refusals.iter().map(|refused| {
        let origins = refused.causes.iter().map(Origin::from).collect();
        fault(origins, Some(refused.rejection.name.to_string()), &refused.rejection.message)
    });
    not_applied.chain(refused).collect()
}

impl From<actors::Propagation> for Propagation {
    fn from(seen: actors::Propagation) -> Self {
        let pending = seen.pending.into_iter().map(|proxy| PendingProxy {
            mesh: proxy.mesh.to_string(),
            name: proxy.name.to_string(),
            for_ms: u64::try_from(proxy.age.as_millis()).unwrap_or(u64::MAX),
        });
        let rejected = seen.rejected.into_iter().map(|proxy| {
            let rejections = proxy.refusals.iter().map(|refused| &refused.rejection);
            let said = rejections.map(|refused| format!("{}: {}", refused.name, refused.message));
            let causes: BTreeSet<_> = proxy.refusals.iter().flat_map(|refused| refused.causes.iter()).collect();
            RejectingProxy {
                origins: causes.into_iter().map(Origin::from).collect(),
                mesh: proxy.mesh.to_string(),
                name: proxy.name.to_string(),
                message: said.collect::<Vec<_>>().join("; "),
            }
        });
        Self {
            folded: seen.folded,
            concerned: seen.concerned,
            acknowledged: seen.acked,
            pending: pending.collect(),
            rejected: rejected.collect(),
        }
    }
}

/// What is asked of Envoy's own admin API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminRequest {
    /// `/config_dump`; with endpoints when asked for.
    ConfigDump {
        /// Whether endpoints are in it.
        include_eds: bool,
    },
    /// `/stats`.
    Stats {
        /// As JSON instead of text.
        json: bool,
        /// Only those that were ever updated.
        used_only: bool,
    },
    /// `/clusters`.
    Clusters {
        /// As JSON instead of text.
        json: bool,
    },
}

impl AdminRequest {
    /// Path and query at Envoy's admin API.
    pub fn path(self) -> String {
        match self {
            Self::ConfigDump { include_eds: false } => "/config_dump".to_owned(),
            Self::ConfigDump { include_eds: true } => "/config_dump?include_eds=true".to_owned(),
            Self::Stats { json, used_only } => {
                let parts = [json.then_some("format=json"), used_only.then_some("usedonly=")];
                let query: Vec<_> = parts.into_iter().flatten().collect();
                let mark = if query.is_empty() { "" } else { "?" };
                format!("/stats{mark}{}", query.join("&"))
            }
            Self::Clusters { json: true } => "/clusters?format=json".to_owned(),
            Self::Clusters { json: false } => "/clusters".to_owned(),
        }
    }
}

/// Why Envoy's admin API did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// It was not reached.
    #[error("could not reach the admin API of the proxy: {0}")]
    Unreachable(String),
    /// The proxy is in a zone that is not connected; the text is for the client.
    #[error("{0}")]
    NoStream(String),
}

/// What an admin request comes to.
pub type AdminAnswer = Pin<Box<dyn Future<Output = Result<Vec<u8>, AdminError>> + Send>>;

/// How Envoy's admin API is reached: directly in a zone, through the zone on global.
pub trait EnvoyAdmin: Send + Sync + 'static {
    /// Asks the proxy of a dataplane.
    fn ask(&self, dataplane: &Arc<model::Resource>, request: AdminRequest) -> AdminAnswer;
}

impl fmt::Debug for dyn Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Running")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admin_requests_are_envoys_paths() {
        for (request, path) in [
            (AdminRequest::ConfigDump { include_eds: true }, "/config_dump?include_eds=true"),
            (AdminRequest::Stats { json: false, used_only: true }, "/stats?usedonly="),
            (AdminRequest::Stats { json: true, used_only: true }, "/stats?format=json&usedonly="),
            (AdminRequest::Stats { json: false, used_only: false }, "/stats"),
            (AdminRequest::Clusters { json: true }, "/clusters?format=json"),
        ] {
            assert_eq!(request.path(), path);
        }
    }
}
