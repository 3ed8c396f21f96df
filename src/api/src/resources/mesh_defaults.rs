//! What a new mesh comes with: a key that signs dataplane tokens, and the default policies.

use identity::RsaPrivateKey;
use identity::token::{KeyRing, secret_spec};
use model::kinds::mesh::Mesh;
use model::labels::{self, Site, Subject};
use model::{Key, Kind, Labels, Spec, registry};
use serde_json::{Value, json};
use store::{Put, StatusChange};

/// The default resources of the mesh at `mesh`, in the order in which they are written.
pub(crate) async fn of(mesh: &Key, spec: &Spec, site: &Site) -> Result<Vec<Put>, String> {
    // Making an RSA key takes a good part of a second.
    let key = tokio::task::spawn_blocking(RsaPrivateKey::generate).await.map_err(|e| e.to_string())?;
    let pem = key.and_then(|key| key.to_pem()).map_err(|e| e.to_string())?;
    let secret = KeyRing::dataplane(&mesh.name).secret("1");
    let mut puts = vec![put(mesh, secret, secret_spec(pem.as_bytes()), None)?];
    let skipped = spec.get::<Mesh>().map_or(&[][..], |mesh| &mesh.skip_creating_initial_policies);
    for (kind, name, spec) in policies(&mesh.name) {
        if !skipped.iter().any(|skip| skip == "*" || skip == kind.name) {
            puts.push(put(mesh, Key::new(kind, &mesh.name, &name), spec, Some(site))?);
        }
    }
    Ok(puts)
}

fn put(mesh: &Key, key: Key, spec: Value, labelled: Option<&Site>) -> Result<Put, String> {
    let spec = key.kind.codec.admit(spec).map_err(|e| format!("default {key}: {e}"))?;
    let labels = match labelled {
        None => Labels::new(),
        Some(site) => {
            let subject = Subject::new(key.kind, &spec, &key.mesh, &key.name);
            labels::compute(&Labels::new(), &subject, site).map_err(|e| e.to_string())?
        }
    };
    Ok(Put { key, labels, spec, status: StatusChange::Keep, owner: Some(mesh.clone()), times: None })
}

fn policies(mesh: &str) -> [(Kind, String, Value); 4] {
    let to_all = |default: Value| json!({"targetRef": {"kind": "Mesh"}, "to": [{"targetRef": {"kind": "Mesh"}, "default": default}]});
    let retry = || json!({"numRetries": 5, "perTryTimeout": "16s", "backOff": {"baseInterval": "25ms", "maxInterval": "250ms"}});
    [
        (
            registry::MESH_TIMEOUT,
            format!("mesh-timeout-all-{mesh}"),
            json!({"targetRef": {"kind": "Mesh"}, "rules": [{"default": {
                "connectionTimeout": "10s",
                "idleTimeout": "2h0m0s",
                "http": {"requestTimeout": "0s", "streamIdleTimeout": "1h0m0s", "maxStreamDuration": "0s"},
            }}]}),
        ),
        (
            registry::MESH_TIMEOUT,
            format!("mesh-timeout-to-all-{mesh}"),
            to_all(json!({
                "connectionTimeout": "5s",
                "idleTimeout": "1h0m0s",
                "http": {"requestTimeout": "15s", "streamIdleTimeout": "30m0s"},
            })),
        ),
        (
            registry::MESH_CIRCUIT_BREAKER,
            format!("mesh-circuit-breaker-all-{mesh}"),
            to_all(json!({"connectionLimits": {
                "maxConnections": 1024,
                "maxPendingRequests": 1024,
                "maxRetries": 3,
                "maxRequests": 1024,
            }})),
        ),
        (
            registry::MESH_RETRY,
            format!("mesh-retry-all-{mesh}"),
            to_all(json!({"tcp": {"maxConnectAttempt": 5}, "http": retry(), "grpc": retry()})),
        ),
    ]
}
