//! Who may open a stream: the first request of a stream is checked here, before an actor exists.

mod authenticate;
mod brought;
mod proxy_id;
mod refusal;
mod register;

use std::sync::Arc;

use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use http::HeaderMap;
use model::kinds::mesh_identity::{self, MeshIdentity};
use model::labels::{NAMESPACE, WORKLOAD};
use model::registry::MESH_IDENTITY;
use model::spiffe::{DEFAULT_PATH_KUBERNETES, DEFAULT_PATH_UNIVERSAL, derives_from_workload};
use model::{Labels, Resource, Timestamp};
use serde_json::{Map, Value};
use store::State;
use xds::bootstrap::ProxyMetadata;

pub use authenticate::Authentication;
pub use proxy_id::{ProxyId, ProxyIdError};
pub use refusal::{Refusal, RegistrationError};
pub(crate) use register::deregister_later;

use crate::ads::request::json_object;
use crate::hub::Seat;
use crate::shared::Shared;
use authenticate::Subject;
use brought::BroughtDataplane;

/// A proxy that may have its configuration.
#[derive(Debug)]
pub(crate) struct Admitted {
    /// Its place among the connected proxies of its mesh.
    pub(crate) seat: Seat,
    /// What it says of itself.
    pub(crate) metadata: Arc<ProxyMetadata>,
    /// The same as JSON, for its insight.
    pub(crate) raw_metadata: Arc<Map<String, Value>>,
}

/// Checks the first request of a stream, stores the Dataplane that it brings along, and takes the
/// proxy's seat.
pub(crate) async fn admit(
    shared: &Arc<Shared>,
    headers: &HeaderMap,
    first: &DeltaDiscoveryRequest,
) -> Result<Admitted, Refusal> {
    let credential = credential(headers)?;
    let node = first.node.as_ref();
    let raw = node.and_then(|node| node.metadata.as_ref()).map(json_object);
    let metadata = ProxyMetadata::parse(&raw.clone().map_or(Value::Null, Value::Object))?;
    let node_id = ProxyId::parse(node.map_or("", |node| &node.id));
    let brought = match &metadata.dataplane_resource {
        Some(text) => Some(BroughtDataplane::parse(text)?),
        None => None,
    };
    if !matches!(&*metadata.proxy_type, "" | "dataplane") {
        return Err(Refusal::ProxyType(metadata.proxy_type));
    }
    let state = shared.store.snapshot();
    authenticate(shared, &state, &credential, node_id.as_ref().map_err(|e| *e), brought.as_ref())?;
    let id = node_id.map_err(Refusal::InvalidNode)?;
    if let Some(brought) = &brought {
        require_workload_label(shared, &state, brought)?;
        if brought.id != id {
            return Err(RegistrationError::Mismatch { id, resource: brought.id.clone() }.into());
        }
    }
    let raw = raw.ok_or(Refusal::NoMetadata)?;
    let mut seat = Seat::take(shared, id).await.ok_or(Refusal::Duplicate)?;
    if let Some(brought) = &brought {
        register::register(shared, brought, &credential).await?;
        seat.deregisters();
    }
    Ok(Admitted { seat, metadata: Arc::new(metadata), raw_metadata: Arc::new(raw) })
}

/// Checks that a stream may report the health of a stored Dataplane.
pub(crate) fn admit_reporter(shared: &Shared, headers: &HeaderMap, id: &ProxyId) -> Result<(), Refusal> {
    authenticate(shared, &shared.store.snapshot(), &credential(headers)?, Ok(id), None)
}

/// Checks that a later request of a stream still speaks for its proxy.
pub(crate) fn check_node(authenticated: &ProxyId, request: &DeltaDiscoveryRequest) -> Result<(), Refusal> {
    let received = request.node.as_ref().map_or("", |node| &node.id);
    let is_same = received.is_empty() || received.split_once('.') == Some((&*authenticated.mesh, &*authenticated.name));
    if is_same {
        return Ok(());
    }
    Err(Refusal::NodeChanged { authenticated: authenticated.clone(), received: received.to_owned() })
}

/// The raw token; empty when there is none.
fn credential(headers: &HeaderMap) -> Result<String, Refusal> {
    let mut values = headers.get_all(http::header::AUTHORIZATION).iter();
    let first = values.next();
    match values.count() {
        0 => Ok(first.and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()),
        more => Err(Refusal::Credentials(more + 1)),
    }
}

/// The Dataplane that the proxy brings along is checked, or else the stored one.
fn authenticate(
    shared: &Shared,
    state: &State,
    credential: &str,
    node_id: Result<&ProxyId, ProxyIdError>,
    brought: Option<&BroughtDataplane>,
) -> Result<(), Refusal> {
    let check = |subject: Subject<'_>| {
        let settings = &shared.settings;
        settings.authentication.check(state, credential, subject, Timestamp::now())
    };
    if let Some(brought) = brought {
        return check(Subject { mesh: &brought.id.mesh, name: &brought.id.name, labels: &brought.labels });
    }
    let id = node_id.map_err(Refusal::Node)?;
    let stored = state.get(&id.dataplane()).ok_or_else(|| Refusal::NotFound(id.clone()))?;
    check(Subject { mesh: &id.mesh, name: &id.name, labels: &stored.meta.labels })
}

/// A MeshIdentity that names workloads needs to know the workload.
fn require_workload_label(shared: &Shared, state: &State, brought: &BroughtDataplane) -> Result<(), Refusal> {
    let labels = brought.stored_labels(&shared.settings);
    let identities = state.in_mesh(MESH_IDENTITY, &brought.id.mesh);
    let Some(identity) = mesh_identity::best_match(identities, &labels) else { return Ok(()) };
    let template = path_template(identity, &labels);
    if !derives_from_workload(template) || labels.contains_key(WORKLOAD) {
        return Ok(());
    }
    Err(Refusal::NoWorkloadLabel { identity: identity.key.name.to_string(), template: template.to_owned() })
}

/// The path template of a MeshIdentity, or the default where the dataplane runs.
fn path_template<'a>(identity: &'a Resource, dataplane: &Labels) -> &'a str {
    let default = if dataplane.contains_key(NAMESPACE) { DEFAULT_PATH_KUBERNETES } else { DEFAULT_PATH_UNIVERSAL };
    let template = identity.spec::<MeshIdentity>().and_then(|spec| spec.spiffe_id.as_ref()?.path.as_deref());
    template.unwrap_or(default)
}
