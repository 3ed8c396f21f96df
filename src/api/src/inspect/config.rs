//! `_config`: what a proxy should run, and what shadow policies would change.

use std::sync::Arc;

use identity::Action;
use model::kinds::dataplane_insight::DataplaneInsight;
use model::{Key, registry};
use policy::Shadow;
use serde_json::{Map, Value};
use xds::bootstrap::ProxyMetadata;
use xds::inspect;

use super::picture::Picture;
use crate::call::{Call, parse_bool};
use crate::errors::Problem;
use crate::json;
use crate::routes::Answer;

/// `GET …/dataplanes/{name}/_config`.
pub(crate) async fn config(call: Call) -> Answer {
    if call.settings().zone().is_none() {
        return Err(Problem::read_only("Not allowed on global CP"));
    }
    let wanted = Wanted::of(&call)?;
    // It shows what `xds` shows of a running proxy, so the same users may see it.
    call.may(Action::ViewConfigDump)?;
    let state = call.state().await?;
    call.mesh(&state)?;
    let picture = Picture::of(&call, &state, "Could not retrieve Dataplane")?;
    let key = Key::new(registry::DATAPLANE_INSIGHT, call.param("mesh"), call.param("name"));
    let insight = state.get(&key).ok_or_else(|| Problem::not_found("Failed to fetch dataplane insight"))?;
    let failed = |error: &dyn std::fmt::Display| Problem::internal("Could not generate the configuration", error);
    let said = insight.spec::<DataplaneInsight>().and_then(|insight| insight.metadata.clone());
    let metadata = ProxyMetadata::parse(&said.map_or(Value::Null, |said| Value::Object((*said).clone())))
        .map_err(|e| failed(&e))?;
    let metadata = Arc::new(metadata);
    let configured = |shadow| {
        let config = inspect::config_json(&picture.view, call.param("name"), &metadata, shadow);
        let config = config.map_err(|e| failed(&e))?;
        let mut config = config.ok_or_else(|| Problem::not_found("Could not retrieve Dataplane"))?;
        config.values_mut().for_each(mask);
        Ok::<_, Problem>(config)
    };
    let shown = configured(if wanted.shadow { Shadow::Included } else { Shadow::Excluded })?;
    let mut body = Map::new();
    if wanted.diff {
        let diff = inspect::difference(&configured(Shadow::Excluded)?, &shown);
        body.insert("diff".to_owned(), serde_json::to_value(diff).map_err(|e| failed(&e))?);
    }
    body.insert("xds".to_owned(), Value::Object(shown));
    Ok(json::response(&body))
}

/// Envoy's fields that hold a secret: a source of data.
const SECRETS: [&str; 2] = ["privateKey", "password"];

/// Hides secrets that stand in the configuration itself. Where there is nothing (certificates of the
/// admin interface are not issued for this), nothing is hidden; a name of a file is not a secret.
fn mask(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let secret = SECRETS.contains(&name.as_str());
                let inline = ["inlineBytes", "inlineString"]
                    .into_iter()
                    .any(|source| field.get(source).and_then(Value::as_str).is_some_and(|data| !data.is_empty()));
                if secret && inline {
                    *field = serde_json::json!({ "inlineString": "[redacted]" });
                } else {
                    mask(field);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(mask),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// What is asked for.
struct Wanted {
    /// With policies that are only evaluated.
    shadow: bool,
    /// With the difference that they make.
    diff: bool,
}

impl Wanted {
    fn of(call: &Call) -> Result<Self, Problem> {
        let unsupported =
            |name: &str| Problem::bad_request(format_args!("unsupported value for query parameter '{name}'"));
        let shadow = match call.query.get("shadow").unwrap_or_default() {
            "" => false,
            text => parse_bool(text).ok_or_else(|| unsupported("shadow"))?,
        };
        let mut diff = false;
        for include in call.query.all("include").filter(|include| !include.is_empty()) {
            if include != "diff" {
                return Err(unsupported("include"));
            }
            diff = true;
        }
        Ok(Self { shadow, diff })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn private_keys_are_not_shown() {
        let certificate = |key: Value| json!({ "tlsCertificates": [{ "privateKey": key, "other": 1 }] });
        let hidden = json!({ "inlineString": "[redacted]" });
        for (key, shown) in [
            (json!({ "inlineBytes": "a2V5" }), hidden.clone()),
            (json!({ "inlineString": "key" }), hidden),
            (json!({ "inlineBytes": "" }), json!({ "inlineBytes": "" })),
            (json!({ "filename": "/key.pem" }), json!({ "filename": "/key.pem" })),
        ] {
            let mut config = certificate(key);
            mask(&mut config);
            assert_eq!(config, certificate(shown));
        }
    }
}
