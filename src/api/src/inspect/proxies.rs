//! The proxies that a policy or a service selects, and the policies that select a proxy.

use std::sync::Arc;

use model::kinds::mesh_service::MeshService;
use model::{Key, Kind, Kri, Resource, registry};
use policy::selection::{Selection, select};
use policy::{Policy, Subject};
use serde_json::{Value, json};
use store::{Query, State};

use super::picture::Picture;
use super::{policy_kinds, shown};
use crate::call::Call;
use crate::errors::Problem;
use crate::filters::Filters;
use crate::routes::Answer;
use crate::{json, paging};

const TITLE: &str = "Could not retrieve policy";

/// `…/{policy}/{name}/_resources/dataplanes`: proxies that its top-level `targetRef` selects.
pub(crate) async fn of_policy(call: Call, kind: Kind) -> Answer {
    paging::size(&call, TITLE)?;
    let state = call.state().await?;
    call.may_access(kind)?;
    let policy = find(&call, &state, kind)?;
    let policy = Policy::read(&policy).map_err(|e| Problem::internal("failed inspect", e))?;
    page(&call, &state, |dataplane| selects(&policy, dataplane))
}

/// `…/meshservices/{name}/_dataplanes`: proxies behind it.
pub(crate) async fn of_service(call: Call) -> Answer {
    paging::size(&call, TITLE)?;
    let state = call.state().await?;
    let service = find(&call, &state, registry::MESH_SERVICE)?;
    let service = service.spec::<MeshService>().cloned().unwrap_or_default();
    page(&call, &state, |dataplane| {
        let selector = &service.selector;
        match (&selector.dataplane_ref, &selector.dataplane_labels) {
            (Some(named), _) => *dataplane.key.name == *named.name,
            (None, Some(labels)) => labels.matches(&dataplane.meta.labels),
            (None, None) => false,
        }
    })
}

fn find(call: &Call, state: &State, kind: Kind) -> Result<Arc<Resource>, Problem> {
    let key = Key::new(kind, call.param("mesh"), call.param("name"));
    state.get(&key).cloned().ok_or_else(|| Problem::not_found(TITLE))
}

/// A policy selects no proxy without any inbound: it would show nowhere.
fn selects(policy: &Policy, dataplane: &Resource) -> bool {
    Subject::read(dataplane).is_ok_and(|subject| select(policy, &subject) != Selection::None)
}

/// The dataplanes of the mesh that `matches` lets through; here `next` is left out on the last page.
fn page(call: &Call, state: &State, matches: impl Fn(&Resource) -> bool) -> Answer {
    let filters = Filters::by_name(call);
    let query = Query {
        kind: registry::DATAPLANE,
        mesh: Some(call.param("mesh").to_owned()),
        offset: paging::offset(call, TITLE)?,
        size: paging::size(call, TITLE)?,
    };
    let page = state.list(&query, |dataplane| filters.admit(dataplane) && matches(dataplane));
    let items: Vec<_> = page.items.iter().map(|dataplane| shown::meta(dataplane)).collect();
    let mut body = json!({ "items": items, "total": page.total });
    if let Some(offset) = page.next {
        body["next"] = json!(paging::next_url(call, offset));
    }
    Ok(json::response(&body))
}

/// `…/{policy}/{name}/dataplanes`: the older form; a policy that does not exist selects nothing.
pub(crate) async fn attached_to(call: Call, kind: Kind) -> Answer {
    let state = call.state().await?;
    let policy = find(&call, &state, kind).ok().and_then(|policy| Policy::read(&policy).ok());
    let mesh = call.param("mesh");
    let items: Vec<_> = policy
        .iter()
        .flat_map(|policy| state.in_mesh(registry::DATAPLANE, mesh).filter(|dataplane| selects(policy, dataplane)))
        .map(|dataplane| {
            json!({
                "kind": "SidecarDataplane",
                "dataplane": { "mesh": mesh, "name": &*dataplane.key.name },
                "attachments": [{ "type": "dataplane" }],
            })
        })
        .collect();
    Ok(json::response(&json!({ "total": items.len(), "items": items })))
}

/// `…/dataplanes/{name}/policies`: the older form of what selects a proxy.
pub(crate) async fn policies_of(call: Call) -> Answer {
    let state = call.state().await?;
    call.mesh(&state)?;
    let picture = Picture::of(&call, &state, "Could not retrieve Dataplane")?;
    let mut matched = serde_json::Map::new();
    for kind in policy_kinds() {
        let Some(rules) = picture.rules(kind) else { continue };
        if !rules.policies.is_empty() {
            let policies = rules.policies.iter().map(|policy| older_meta(&policy.resource));
            matched.insert(kind.name.to_owned(), policies.collect());
        }
    }
    let items = match matched.is_empty() {
        true => Vec::new(),
        false => vec![json!({ "type": "dataplane", "matchedPolicies": matched })],
    };
    Ok(json::response(&json!({ "kind": "SidecarDataplane", "total": items.len(), "items": items })))
}

fn older_meta(policy: &Resource) -> Value {
    let key = &policy.key;
    let mut shown = json!({
        "type": key.kind.name,
        "mesh": &*key.mesh,
        "name": &*key.name,
        "creationTime": policy.meta.creation_time.to_string(),
        "modificationTime": policy.meta.modification_time.to_string(),
        "kri": Kri::of(policy).to_string(),
    });
    if !policy.meta.labels.is_empty() {
        shown["labels"] = json!(policy.meta.labels);
    }
    shown
}
