//! Creating and replacing a resource.

use axum::response::Response;
use http::{HeaderName, HeaderValue, StatusCode};
use model::document::Submission;
use model::kinds::dataplane::{Dataplane, InboundState};
use model::labels::{self, Site, Subject};
use model::{Document, Key, Kind, Labels, Resource, Spec, registry};
use store::{Put, Revision, StatusChange, Txn};

use super::{admission, mesh_defaults, rules};
use crate::call::Call;
use crate::errors::Problem;
use crate::meta;
use crate::routes::Answer;

const CREATE: &str = "Failed to create a resource";
const UPDATE: &str = "Failed to update a resource";

/// Tells the revision of a write; `GET /propagation?revision=R` tells who has it.
const REVISION: HeaderName = HeaderName::from_static("kuma-revision");

/// `PUT` of an item.
pub(crate) async fn put(call: Call, kind: Kind) -> Answer {
    let state = call.api.store.snapshot();
    if !call.param("mesh").is_empty() {
        call.mesh(&state)?;
    }
    let key = Key::new(kind, call.param("mesh"), call.param("name"));
    let body = admission::admit(kind, &call.body)?;
    let stored = state.get(&key).map(|stored| &**stored);
    check(&call, &key, &body, stored)?;
    call.may_access(kind)?;
    let site = &call.settings().site;
    let labels = compute_labels(&key, &body, stored, site)?;
    let title = if stored.is_some() { UPDATE } else { CREATE };
    let named = rules::check_kind_name(&key, stored.is_none());
    named.into_result().map_err(|faults| Problem::invalid(title, faults))?;
    let spec = prepare(&key, body.spec, stored.is_none(), site).map_err(|e| Problem::internal(title, e))?;
    let document = Document { mesh: &key.mesh, name: &key.name, labels: &labels, spec: &spec };
    let warnings = (kind.codec.warn)(&document);
    let put = Put { key: key.clone(), labels, spec, status: StatusChange::Keep, owner: owner(&key), times: None };
    let expected = call.expected_revision()?;
    let txn = transaction(put, stored, expected, site).await.map_err(|why| Problem::internal(title, why))?;
    let committed = call.api.store.commit(txn.by(&call.user.name)).await;
    let committed = committed.map_err(|e| Problem::from_commit(title, &key, &e).of_precondition(expected))?;
    let mut response = meta::done(&warnings);
    // A replica that is behind may not know yet what the writer has read elsewhere.
    let is_update = stored.is_some() || expected.is_some();
    *response.status_mut() = if is_update { StatusCode::OK } else { StatusCode::CREATED };
    Ok(with_revision(response, committed.revision))
}

/// The answer with the revision of a write, or of the last write of what is read.
pub(crate) fn with_revision(mut response: Response, revision: Revision) -> Response {
    response.headers_mut().insert(REVISION, HeaderValue::from(revision.0));
    response
}

/// What the body and the stored resource must satisfy together.
fn check(call: &Call, key: &Key, body: &Submission, stored: Option<&Resource>) -> Result<(), Problem> {
    let Submission { type_name, mesh, name, labels, .. } = body;
    let mut faults = rules::check(&rules::Claims { type_name, mesh, name, labels }, key, call.settings());
    if faults.is_empty()
        && let Some(stored) = stored
        && let Some(fault) = rules::foreign_stored(key.kind, &stored.meta.labels, call.settings())
    {
        faults.add("labels[\"kuma.io/origin\"]", fault);
    }
    faults.into_result().map_err(|faults| Problem::invalid(admission::TITLE, faults))?;
    match rules::workload_fault(key.kind, labels, call.settings()) {
        Some(fault) => Err(Problem::bad_request(fault)),
        None => Ok(()),
    }
}

fn compute_labels(key: &Key, body: &Submission, stored: Option<&Resource>, site: &Site) -> Result<Labels, Problem> {
    let compute = |labels: &Labels, spec: &Spec| {
        labels::compute(labels, &Subject::new(key.kind, spec, &key.mesh, &key.name), site)
            .map_err(|error| Problem::invalid_because("Could not compute labels for a resource", error.to_string()))
    };
    let labels = compute(&body.labels, &body.spec)?;
    if let Some(stored) = stored {
        let kept = labels::check_update(&compute(&stored.meta.labels, &stored.spec)?, &labels);
        kept.into_result().map_err(|faults| Problem::invalid("Could not update a resource", faults))?;
    }
    Ok(labels)
}

/// What the control plane itself writes into a spec.
fn prepare(key: &Key, spec: Spec, creates: bool, site: &Site) -> Result<Spec, serde_json::Error> {
    let Some(dataplane) = spec.get::<Dataplane>().filter(|_| key.kind == registry::DATAPLANE) else {
        return Ok(spec);
    };
    let mut dataplane = dataplane.clone();
    if let Some(networking) = &mut dataplane.networking {
        if let (Some(gateway), Site::Zone { name, .. }) = (&mut networking.gateway, site) {
            gateway.tags.insert(labels::ZONE.to_owned(), name.clone());
        }
        // An inbound that is probed takes no traffic before its first good answer.
        for inbound in networking.inbound.iter_mut().filter(|inbound| creates && inbound.service_probe.is_some()) {
            inbound.state = InboundState::NotReady;
            inbound.health.get_or_insert_default().ready = false;
        }
    }
    Spec::of(dataplane)
}

/// Whose deletion deletes the resource. A mesh with dataplanes cannot be deleted, so they have none.
fn owner(key: &Key) -> Option<Key> {
    let owned = !key.mesh.is_empty() && key.kind != registry::DATAPLANE;
    owned.then(|| Key::global(registry::MESH, &key.mesh))
}

/// The write with its guards; a new mesh comes with its default resources.
async fn transaction(put: Put, stored: Option<&Resource>, expected: Option<u64>, site: &Site) -> Result<Txn, String> {
    let key = put.key.clone();
    let mut txn = match expected.or_else(|| stored.map(|stored| stored.meta.version)) {
        Some(version) => Txn::new().require_version(key.clone(), version),
        None => Txn::new().require_absent(key.clone()),
    };
    if !key.mesh.is_empty() {
        txn = txn.require_present(Key::global(registry::MESH, &key.mesh));
    }
    let creates_mesh = stored.is_none() && expected.is_none() && key.kind == registry::MESH;
    let spec = put.spec.clone();
    txn = txn.put_with(put);
    if creates_mesh {
        for put in mesh_defaults::of(&key, &spec, site).await? {
            txn = txn.put_with(put);
        }
    }
    Ok(txn)
}
