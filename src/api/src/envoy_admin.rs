//! Envoy's own admin API through the control plane: `xds`, `stats` and `clusters` of a proxy.

use axum::response::Response;
use http::{HeaderValue, header};
use identity::Action;
use model::{Key, registry};

use crate::call::{Call, parse_bool};
use crate::errors::Problem;
use crate::routes::Answer;
use crate::running::{AdminError, AdminRequest};

const TITLE: &str = "Could not execute admin operation";

/// `GET /meshes/{mesh}/dataplanes/{name}/{type}`.
pub(crate) async fn ask(call: Call) -> Answer {
    let flag = |name: &str| call.query.get(name).and_then(parse_bool);
    let json = call.query.get("format") == Some("json");
    let (request, action) = match call.param("type") {
        "xds" => {
            let include_eds = flag("include_eds").unwrap_or(false);
            (AdminRequest::ConfigDump { include_eds }, Action::ViewConfigDump)
        }
        "stats" => (AdminRequest::Stats { json, used_only: flag("usedonly").unwrap_or(true) }, Action::ViewStats),
        "clusters" => (AdminRequest::Clusters { json }, Action::ViewClusters),
        other => return Err(Problem::not_found_because(TITLE, format!("invalid admin type: {other}"))),
    };
    call.may(action)?;
    let state = call.state().await?;
    let key = Key::new(registry::DATAPLANE, call.param("mesh"), call.param("name"));
    let dataplane = state.get(&key).ok_or_else(|| Problem::not_found("Could not get dataplane resource"))?;
    let Some(admin) = &call.api.envoy_admin else {
        return Err(Problem::unavailable("this control plane serves no proxies"));
    };
    let answer = admin.ask(dataplane, request).await.map_err(|error| match error {
        AdminError::NoStream(why) => Problem::malformed(why),
        AdminError::Unreachable(_) => Problem::internal(TITLE, error),
    })?;
    let is_json = json || matches!(request, AdminRequest::ConfigDump { .. });
    let answer = match request {
        AdminRequest::ConfigDump { .. } => redacted(&answer).map_err(|e| Problem::internal(TITLE, e))?,
        AdminRequest::Stats { .. } | AdminRequest::Clusters { .. } => answer,
    };
    let mut response = Response::new(answer.into());
    let media = HeaderValue::from_static(if is_json { "application/json" } else { "text/plain" });
    response.headers_mut().insert(header::CONTENT_TYPE, media);
    Ok(response)
}

/// The dump without the proxy's token: wherever the credential of its bootstrap occurs.
fn redacted(dump: &[u8]) -> Result<Vec<u8>, serde_json::Error> {
    let parsed: serde_json::Value = serde_json::from_slice(dump)?;
    let mut tokens = Vec::new();
    collect_tokens(&parsed, &mut tokens);
    let mut text = String::from_utf8_lossy(dump).into_owned();
    for token in tokens {
        text = text.replace(&token, "[redacted]");
    }
    Ok(text.into_bytes())
}

/// Values of initial metadata with the key `authorization`, as they stand in JSON.
fn collect_tokens(value: &serde_json::Value, tokens: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            if fields.get("key").and_then(|key| key.as_str()) == Some("authorization")
                && let Some(token) = fields.get("value").and_then(|value| value.as_str()).filter(|t| !t.is_empty())
            {
                let quoted = serde_json::Value::from(token).to_string();
                tokens.push(quoted.trim_matches('"').to_owned());
            }
            fields.values().for_each(|field| collect_tokens(field, tokens));
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| collect_tokens(item, tokens)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_of_a_proxy_is_not_shown() {
        let dump = br#"{"configs":[{"bootstrap":{"initial_metadata":[{"key":"authorization","value":"e.y.J"}]}},{"x":"e.y.J"}]}"#;
        let shown = String::from_utf8(redacted(dump).unwrap()).unwrap();
        assert!(!shown.contains("e.y.J") && shown.matches("[redacted]").count() == 2, "{shown}");
        assert!(redacted(b"no json").is_err());
    }
}
