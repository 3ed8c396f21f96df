//! Issuing tokens for users, dataplanes and zones.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use identity::Action;
use identity::token::{
    Claims, DEFAULT_VALIDITY_HOURS, DataplaneClaims, KeyRing, SigningKeyError, UserClaims, ZoneClaims, issue,
    latest_signing_key,
};
use jiff::SignedDuration;
use model::kinds::duration::GoDuration;
use model::{Timestamp, Violations, registry};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::call::Call;
use crate::errors::Problem;
use crate::routes::Answer;
use crate::server;

const INVALID: &str = "Invalid request";
const TITLE: &str = "Could not issue a token";
const DISABLED: &str = "issuing tokens using the control plane is disabled.";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct DataplaneRequest {
    name: String,
    mesh: String,
    tags: Option<BTreeMap<String, Vec<String>>>,
    r#type: String,
    workload: String,
    valid_for: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ZoneRequest {
    zone: String,
    scope: Option<Vec<String>>,
    valid_for: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct UserRequest {
    name: String,
    groups: Option<Vec<String>>,
    valid_for: String,
}

/// `POST /tokens/dataplane`.
pub(crate) async fn dataplane(call: Call) -> Answer {
    let Some(request) = read::<DataplaneRequest>(&call) else { return Ok(unreadable()) };
    let mut faults = Violations::new();
    if request.mesh.is_empty() {
        faults.add("mesh", "cannot be empty");
    }
    if !matches!(request.r#type.as_str(), "" | "dataplane") {
        faults.add("type", format!("{} is not a valid proxy type", request.r#type));
    }
    let valid_for = validity(&request.valid_for, &mut faults);
    refuse(faults)?;
    call.may(Action::GenerateDataplaneToken)?;
    allowed(call.settings().issue_dataplane_tokens)?;
    // Values are a set: sorted, each once.
    let tags = request.tags.unwrap_or_default().into_iter().map(|(tag, values)| {
        let values: BTreeSet<_> = values.into_iter().collect();
        (tag, values.into_iter().collect())
    });
    let claims = DataplaneClaims {
        name: request.name,
        tags: tags.collect(),
        proxy_type: request.r#type,
        workload: request.workload,
        mesh: request.mesh.clone(),
    };
    signed(call, KeyRing::dataplane(&request.mesh), claims, valid_for.unwrap_or(TEN_YEARS)).await
}

/// `POST /tokens/zone`.
pub(crate) async fn zone(call: Call) -> Answer {
    let Some(request) = read::<ZoneRequest>(&call) else { return Ok(unreadable()) };
    call.may(Action::GenerateZoneToken(&request.zone))?;
    let mut faults = Violations::new();
    let valid_for = validity(&request.valid_for, &mut faults);
    refuse(faults)?;
    allowed(call.settings().issue_zone_tokens)?;
    let claims = ZoneClaims { zone: request.zone, scope: request.scope };
    signed(call, KeyRing::Zone, claims, valid_for.unwrap_or(TEN_YEARS)).await
}

/// `POST /tokens/user`.
pub(crate) async fn user(call: Call) -> Answer {
    call.may(Action::GenerateUserToken)?;
    let Some(request) = read::<UserRequest>(&call) else { return Ok(unreadable()) };
    let mut faults = Violations::new();
    if request.name.is_empty() {
        faults.add("name", "cannot be empty");
    }
    let valid_for = validity(&request.valid_for, &mut faults).unwrap_or(SignedDuration::ZERO);
    if request.valid_for.is_empty() {
        faults.add("validFor", "cannot be empty");
    } else if valid_for.is_zero() {
        faults.add("validFor", "cannot be empty or nil");
    }
    refuse(faults)?;
    allowed(call.settings().issue_user_tokens)?;
    signed(call, KeyRing::User, UserClaims { name: request.name, groups: request.groups }, valid_for).await
}

const TEN_YEARS: SignedDuration = SignedDuration::from_hours(DEFAULT_VALIDITY_HOURS);

fn read<T: DeserializeOwned>(call: &Call) -> Option<T> {
    serde_json::from_slice(&call.body).ok()
}

/// A body that is no JSON is refused without a word.
fn unreadable() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response
}

/// The validity that the text states; `None` when it states none or is not readable.
fn validity(text: &str, faults: &mut Violations) -> Option<SignedDuration> {
    if text.is_empty() {
        return None;
    }
    match text.parse::<GoDuration>() {
        Ok(duration) => Some(SignedDuration::from_nanos(duration.nanos)),
        Err(error) => {
            faults.add("validFor", format!("is invalid: {error}"));
            None
        }
    }
}

fn refuse(faults: Violations) -> Result<(), Problem> {
    faults.into_result().map_err(|faults| Problem::invalid(INVALID, faults))
}

fn allowed(enabled: bool) -> Result<(), Problem> {
    if enabled { Ok(()) } else { Err(Problem::invalid_because(TITLE, DISABLED)) }
}

/// The signed token, off the threads that serve requests: signing with RSA takes milliseconds.
async fn signed<C: Claims + Send + 'static>(call: Call, ring: KeyRing, claims: C, valid_for: SignedDuration) -> Answer {
    let state = call.api.store.consistent().await.map_err(|e| Problem::from_read(&e))?;
    let sign = move || {
        let secrets: Vec<_> = match &ring {
            KeyRing::User | KeyRing::Zone => state.of_kind(registry::GLOBAL_SECRET).collect(),
            KeyRing::Dataplane { mesh } => state.in_mesh(registry::SECRET, mesh).collect(),
        };
        let key = latest_signing_key(&ring, secrets.into_iter().map(|secret| &**secret)).map_err(|e| match e {
            SigningKeyError::NotFound(missing) => Problem::signing_key_missing(missing.to_string()),
            SigningKeyError::Key(error) => Problem::internal(TITLE, error),
        })?;
        issue(&claims, valid_for, &key, Timestamp::now()).map_err(|e| Problem::internal(TITLE, e))
    };
    let token = tokio::task::spawn_blocking(sign).await.map_err(|e| Problem::internal(TITLE, e))??;
    Ok(server::text(token))
}
