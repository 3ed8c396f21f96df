//! What a proxy should run, as JSON, and what policies that are only evaluated would change. For
//! people to look at: nothing is issued for it, so it holds no key and no certificate.

use std::sync::Arc;
use std::time::Duration;

use model::Kri;
use model::kinds::duration::GoDuration;
use model::kinds::mesh_identity::{MeshIdentity, ProviderType};
use policy::Shadow;
use serde_json::{Map, Value};

use crate::bootstrap::ProxyMetadata;
use crate::json::{self, DiffOp, JsonError};
use crate::proxy::{IdentitySource, Memo, ProxyInputs, WorkloadIdentity, generate};
use crate::proxy_config::{ProxyConfig, ResourceType};
use crate::view::{DataplaneEntry, MeshView};

/// The configuration of a proxy: by type URL and by name.
pub type ConfigJson = Map<String, Value>;

/// What the proxy of a dataplane that said `metadata` of itself should run; `None` when there is no
/// such dataplane.
///
/// # Errors
/// When a user's patch packed a message that Envoy's API does not have.
pub fn config_json(
    view: &MeshView,
    dataplane: &str,
    metadata: &Arc<ProxyMetadata>,
    shadow: Shadow,
) -> Result<Option<ConfigJson>, JsonError> {
    let Some(entry) = view.dataplane(dataplane) else { return Ok(None) };
    let inputs = ProxyInputs {
        identity: named_identity(view, entry).map(Arc::new),
        shadow,
        ..ProxyInputs::new(dataplane, Arc::clone(metadata))
    };
    generate(view, &inputs, &mut Memo::default()).map(|config| to_json(&config)).transpose()
}

/// The operations that turn one configuration into another.
pub fn difference(from: &ConfigJson, to: &ConfigJson) -> Vec<DiffOp> {
    json::diff(&Value::Object(from.clone()), &Value::Object(to.clone()))
}

/// A configuration by type URL and by name; a type without resources is left out.
///
/// # Errors
/// When a packed message inside is of a type that Envoy's API does not have.
pub fn to_json(config: &ProxyConfig) -> Result<ConfigJson, JsonError> {
    let mut types = ConfigJson::new();
    for ty in ResourceType::ALL.into_iter().filter(|ty| !config.of(*ty).is_empty()) {
        let full_name = full_name(ty);
        let shown = config
            .of(ty)
            .iter()
            .map(|entry| Ok((entry.resource.name.to_string(), json::bytes_to_json(full_name, &entry.resource.body)?)));
        let shown = shown.collect::<Result<Map<_, _>, JsonError>>()?;
        types.insert(ty.type_url().to_owned(), Value::Object(shown));
    }
    Ok(types)
}

fn full_name(ty: ResourceType) -> &'static str {
    let url = ty.type_url();
    url.rsplit_once('/').map_or(url, |(_, name)| name)
}

/// Who the proxy would be.
fn named_identity(view: &MeshView, entry: &DataplaneEntry) -> Option<WorkloadIdentity> {
    let identity = view.identity_of(entry)?;
    let provider = identity.spec::<MeshIdentity>()?.provider.as_ref();
    let source = match provider.filter(|provider| provider.kind == ProviderType::Spire) {
        Some(provider) => IdentitySource::Spire {
            connect_timeout: provider
                .spire
                .as_ref()
                .and_then(|spire| spire.agent.as_ref()?.timeout)
                .map_or(Duration::from_secs(1), GoDuration::to_std),
        },
        None => IdentitySource::Named,
    };
    Some(WorkloadIdentity { mesh_identity: Kri::of(identity), spiffe_id: view.spiffe_id_of(entry)?, source })
}
