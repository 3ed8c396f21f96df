//! What this control plane is and what it serves: `/`, `/config`, `/who-am-i`, `/policies`,
//! `/_resources`.

use axum::response::Response;
use identity::Action;
use model::{KdsFlags, Kind, Scope, registry};
use serde::Serialize;

use crate::call::Call;
use crate::routes::Answer;
use crate::writable::is_read_only;
use crate::{gui, json};

/// Name of the `Config` that holds the id of this group of control planes.
const CLUSTER_ID: &str = "kuma-cluster-id";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Index<'a> {
    cluster_id: String,
    gui: &'a str,
    hostname: &'a str,
    instance_id: &'a str,
    product: &'static str,
    version: &'a str,
}

/// `GET /`: asks for no credential.
pub(crate) async fn index(call: Call) -> Answer {
    let settings = call.settings();
    let key = model::Key::global(registry::CONFIG, CLUSTER_ID);
    let cluster_id = call.api.store.snapshot().get(&key).map(|config| cluster_id(config.spec.json()));
    Ok(json::response(&Index {
        cluster_id: cluster_id.unwrap_or_default(),
        gui: gui::url(settings),
        hostname: &settings.hostname,
        instance_id: &settings.instance_id,
        product: "Kuma",
        version: &settings.version,
    }))
}

fn cluster_id(spec: &str) -> String {
    let spec: serde_json::Value = serde_json::from_str(spec).unwrap_or_default();
    spec["config"].as_str().unwrap_or_default().to_owned()
}

/// `GET /config`: secrets are masked already.
pub(crate) async fn config(call: Call) -> Answer {
    call.may(Action::ViewControlPlaneMetadata)?;
    Ok(json::response_of(call.settings().config.to_string()))
}

#[derive(Serialize)]
struct Versions<'a> {
    #[serde(rename = "kumaCp")]
    control_plane: &'a str,
}

/// `GET /versions`: clients of older releases look here.
pub(crate) async fn versions(call: Call) -> Answer {
    Ok(json::response(&Versions { control_plane: &call.settings().version }))
}

/// `GET /who-am-i`.
pub(crate) async fn who_am_i(call: Call) -> Answer {
    #[derive(Serialize)]
    struct Body<'a> {
        name: &'a str,
        groups: &'a [String],
    }
    Ok(json::response(&Body { name: &call.user.name, groups: &call.user.groups }))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Policy {
    name: &'static str,
    read_only: bool,
    path: &'static str,
    singular_display_name: &'static str,
    plural_display_name: &'static str,
    is_experimental: bool,
    is_target_ref_based: bool,
    is_inbound: bool,
    is_outbound: bool,
}

/// `GET /policies`.
pub(crate) async fn policies(call: Call) -> Answer {
    #[derive(Serialize)]
    struct Body {
        policies: Vec<Policy>,
    }
    let policies = served().filter(|kind| kind.is_policy).map(|kind| Policy {
        name: kind.name,
        read_only: is_read_only(kind, call.settings()),
        path: kind.path,
        singular_display_name: kind.singular,
        plural_display_name: kind.plural,
        is_experimental: false,
        is_target_ref_based: true,
        is_inbound: kind.has_rules,
        is_outbound: kind.has_to,
    });
    Ok(json::response(&Body { policies: policies.collect() }))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PolicyParts {
    has_from_target_ref: bool,
    has_rules_target_ref: bool,
    has_to_target_ref: bool,
    is_from_as_rules: bool,
    is_target_ref: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceType {
    include_in_federation: bool,
    name: &'static str,
    path: &'static str,
    plural_display_name: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<PolicyParts>,
    read_only: bool,
    scope: &'static str,
    short_name: &'static str,
    singular_display_name: &'static str,
}

/// `GET /_resources`.
pub(crate) async fn resources(call: Call) -> Answer {
    #[derive(Serialize)]
    struct Body {
        resources: Vec<ResourceType>,
    }
    let resources = served().map(|kind| ResourceType {
        include_in_federation: kind.kds.has(KdsFlags::GLOBAL_TO_ZONE) && !kind.read_only,
        name: kind.name,
        path: kind.path,
        plural_display_name: kind.plural,
        policy: kind.is_policy.then_some(PolicyParts {
            has_from_target_ref: false,
            has_rules_target_ref: kind.has_rules,
            has_to_target_ref: kind.has_to,
            is_from_as_rules: false,
            is_target_ref: true,
        }),
        read_only: is_read_only(kind, call.settings()),
        scope: match kind.scope {
            Scope::Global => "Global",
            Scope::Mesh => "Mesh",
        },
        short_name: kind.short,
        singular_display_name: kind.singular,
    });
    Ok(json::response(&Body { resources: resources.collect() }))
}

/// The kinds on REST, by name.
pub(crate) fn served() -> impl Iterator<Item = Kind> {
    let mut kinds: Vec<_> = registry::KINDS.iter().copied().filter(|kind| !kind.path.is_empty()).collect();
    kinds.sort();
    kinds.into_iter()
}

/// An answer that is an empty object, or its warnings.
pub(crate) fn done(warnings: &[String]) -> Response {
    #[derive(Serialize)]
    struct Body<'a> {
        #[serde(skip_serializing_if = "<[String]>::is_empty")]
        warnings: &'a [String],
    }
    json::response(&Body { warnings })
}
