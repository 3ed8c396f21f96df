//! A proxy's configuration as the inspect API shows it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::bytes_to_json;
use super::diff::diff;
use crate::proxy_config::{ProxyConfig, ResourceType};

/// Where private keys stand in a resource, and what is shown in their place.
const KEY_FIELDS: [&str; 2] = ["privateKey", "password"];
const REDACTED: &str = "[redacted]";

/// All resources: type URL to name to resource, private keys masked. A resource that cannot be read is
/// shown as the reason why.
pub fn config_to_json(config: &ProxyConfig) -> Value {
    let types = config.types.iter().map(|(ty, resources)| {
        let resources: Map<String, Value> = resources
            .iter()
            .map(|(name, entry)| (name.to_string(), resource_to_json(*ty, &entry.resource.body)))
            .collect();
        (ty.type_url().to_owned(), Value::Object(resources))
    });
    Value::Object(types.collect())
}

/// One resource, private keys masked.
pub fn resource_to_json(ty: ResourceType, body: &[u8]) -> Value {
    let name = ty.type_url().rsplit('/').next().unwrap_or_default();
    let mut json = bytes_to_json(name, body).unwrap_or_else(|error| json!({"error": error.to_string()}));
    mask_keys(&mut json);
    json
}

/// The body of `_config`: the configuration, and what is different from `current`.
pub fn config_document(shown: &ProxyConfig, current: Option<&ProxyConfig>) -> Value {
    let xds = config_to_json(shown);
    let mut document = BTreeMap::from([("xds", xds)]);
    if let Some(current) = current {
        let ops = diff(&config_to_json(current), &document["xds"]);
        document.insert("diff", serde_json::to_value(ops).unwrap_or_default());
    }
    json!(document)
}

fn mask_keys(json: &mut Value) {
    match json {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::Object(source) if KEY_FIELDS.contains(&name.as_str()) => {
                        source
                            .values_mut()
                            .filter(|value| value.is_string())
                            .for_each(|value| *value = json!(REDACTED));
                    }
                    other => mask_keys(other),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(mask_keys),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{World, dataplane, identity, service, trust};

    #[test]
    fn a_configuration_is_shown_by_type_and_name_without_its_keys() {
        let mut world =
            World::new(&[dataplane("web", "10.0.0.1"), service("api", "web", "241.0.0.1"), identity(), trust("ca")]);
        let config = world.config("web").unwrap();
        let document = config_document(&config, Some(&config));
        assert_eq!(document["diff"], json!([]));
        let xds = &document["xds"];
        let listener = &xds["type.googleapis.com/envoy.config.listener.v3.Listener"]["kri_msvc_m_east__api_http"];
        assert_eq!(listener["address"]["socketAddress"]["address"], "241.0.0.1");
        let secret =
            &xds["type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"]["kri_mid_m___identity_"];
        assert_eq!(secret["tlsCertificate"]["privateKey"], json!({"inlineBytes": "[redacted]"}));
        assert!(!document.to_string().contains("a2V5"), "base64 of the key");
    }
}
