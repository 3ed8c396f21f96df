//! Meshes for tests: resources from JSON, and a mesh that changes step by step.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{Change, Key, Labels, Meta, Resource, Scope, Timestamp, registry};
use policy::Shadow;
use serde_json::{Value, json};

use crate::bootstrap::ProxyMetadata;
use crate::proxy::{IdentitySource, Memo, ProxyInputs, WorkloadIdentity, generate};
use crate::proxy_config::{ProxyConfig, ResourceType};
use crate::view::{MeshView, Touched, ViewSettings};

/// Name of the mesh.
pub(crate) const MESH: &str = "m";

/// A resource from `{"type", "name", "labels", "spec", "status"}`; the fields of a kind without `spec`
/// stand there all the same.
pub(crate) fn resource(document: &Value) -> Arc<Resource> {
    let text = |field: &str| document[field].as_str().unwrap_or_default().to_owned();
    let kind = registry::by_name(&text("type")).unwrap_or_else(|| panic!("no kind {}", document["type"]));
    let mesh = if kind.scope == Scope::Mesh { MESH } else { "" };
    let labels: Labels = serde_json::from_value(document["labels"].clone()).unwrap_or_default();
    let spec = kind.codec.admit(document["spec"].clone()).unwrap_or_else(|e| panic!("{document}: {e}"));
    let status = document.get("status").map(|status| (kind.codec.decode_status)(status.clone()).unwrap());
    let meta = Meta { labels, ..Meta::new(Timestamp::UNIX_EPOCH) };
    Arc::new(Resource { key: Key::new(kind, mesh, &text("name")), meta, spec, status })
}

/// A dataplane with redirected traffic and one inbound on port 8080.
pub(crate) fn dataplane(name: &str, address: &str) -> Value {
    json!({
        "type": "Dataplane", "name": name,
        "labels": {"app": name, "kuma.io/zone": "east", "kuma.io/workload": name},
        "spec": {"networking": {
            "address": address,
            "inbound": [{"port": 8080, "name": "main", "protocol": "http"}],
            "transparentProxying": {"redirectPortInbound": 15006, "redirectPortOutbound": 15001},
        }},
    })
}

/// A service of the dataplanes with label `app`, under one virtual address.
pub(crate) fn service(name: &str, app: &str, vip: &str) -> Value {
    json!({
        "type": "MeshService", "name": name,
        "labels": {"kuma.io/display-name": name, "kuma.io/zone": "east"},
        "spec": {
            "selector": {"dataplaneLabels": {"matchLabels": {"app": app}}},
            "ports": [{"port": 80, "name": "http", "targetPort": 8080, "appProtocol": "http"}],
            "identities": [{"type": "SpiffeID", "value": format!("spiffe://m.east.mesh.local/workload/{app}")}],
            "state": "Available",
        },
        "status": {
            "vips": [{"ip": vip}],
            "addresses": [{"hostname": format!("{name}.svc.mesh.local")}],
            "tls": {"status": "Ready"},
        },
    })
}

/// An identity for all dataplanes.
pub(crate) fn identity() -> Value {
    json!({
        "type": "MeshIdentity", "name": "identity",
        "spec": {"selector": {"dataplane": {"matchLabels": {}}}, "provider": {"type": "Bundled", "bundled": {}}},
    })
}

/// The trust that belongs to it.
pub(crate) fn trust(pem: &str) -> Value {
    json!({
        "type": "MeshTrust", "name": "identity",
        "spec": {"trustDomain": "m.east.mesh.local", "caBundles": [{"type": "Pem", "pem": {"value": pem}}]},
    })
}

/// A mesh that changes, with the proxies that look at it.
pub(crate) struct World {
    pub(crate) view: MeshView,
    memos: BTreeMap<String, (ProxyInputs, Memo)>,
}

impl World {
    pub(crate) fn new(documents: &[Value]) -> Self {
        let settings = Arc::new(ViewSettings { zone: "east".into(), ..ViewSettings::default() });
        let mesh = json!({"type": "Mesh", "name": MESH, "spec": {}});
        let resources: Vec<_> = std::iter::once(&mesh).chain(documents).map(resource).collect();
        Self { view: MeshView::build(MESH, &resources, &settings), memos: BTreeMap::new() }
    }

    /// Folds one change in.
    pub(crate) fn apply(&mut self, key: Key, after: Option<Arc<Resource>>) -> Touched {
        let before = self.view.resource(&key).cloned();
        let (view, touched) = self.view.fold(&[Change { key, before, after }]);
        self.view = view;
        touched
    }

    /// Creates or replaces a resource.
    pub(crate) fn put(&mut self, document: &Value) -> Touched {
        let resource = resource(document);
        self.apply(resource.key.clone(), Some(resource))
    }

    /// Creates or replaces a resource as this version.
    pub(crate) fn put_version(&mut self, document: &Value, version: u64) -> Touched {
        let mut resource = (*resource(document)).clone();
        resource.meta.version = version;
        self.apply(resource.key.clone(), Some(Arc::new(resource)))
    }

    /// Gives a proxy another certificate of the same identity.
    pub(crate) fn renew(&mut self, dataplane: &str, chain: &[u8]) {
        let (inputs, _) = self.memos.get_mut(dataplane).unwrap();
        let former = inputs.identity.as_deref().unwrap();
        let source = IdentitySource::Issued { chain_pem: chain.to_vec(), key_pem: b"key".to_vec() };
        inputs.identity = Some(Arc::new(WorkloadIdentity { source, ..former.clone() }));
    }

    /// What a proxy brings along, as of the last time that it was asked for its configuration.
    pub(crate) fn inputs(&self, dataplane: &str) -> &ProxyInputs {
        &self.memos[dataplane].0
    }

    /// Deletes a resource.
    pub(crate) fn delete(&mut self, document: &Value) -> Touched {
        self.apply(resource(document).key.clone(), None)
    }

    /// What a proxy should run. It has an identity when the mesh has one for it.
    pub(crate) fn config(&mut self, dataplane: &str) -> Option<Arc<ProxyConfig>> {
        let identity = self.view.dataplane(dataplane).and_then(|entry| {
            Some((self.view.identity_of(entry)?.key.name.to_string(), self.view.spiffe_id_of(entry)?))
        });
        let (inputs, memo) = self.memos.entry(dataplane.to_owned()).or_insert_with(|| {
            let metadata =
                ProxyMetadata { admin_port: 9901, readiness_port: 9902, dns_port: 15053, ..Default::default() };
            (ProxyInputs::new(dataplane, Arc::new(metadata)), Memo::default())
        });
        let current = inputs.identity.as_ref().map(|i| (i.mesh_identity.name.to_string(), i.spiffe_id.clone()));
        if current != identity {
            inputs.identity = identity.map(|(name, spiffe_id)| {
                let mid = Key::new(registry::MESH_IDENTITY, MESH, &name);
                let resource = self.view.resource(&mid).unwrap();
                let source = IdentitySource::Issued { chain_pem: b"chain".to_vec(), key_pem: b"key".to_vec() };
                Arc::new(WorkloadIdentity { mesh_identity: model::Kri::of(resource), spiffe_id, source })
            });
        }
        generate(&self.view, inputs, memo)
    }

    /// The same, made from nothing.
    pub(crate) fn config_anew(&self, dataplane: &str) -> Option<Arc<ProxyConfig>> {
        let (inputs, _) = self.memos.get(dataplane)?;
        generate(
            &self.view.rebuilt(),
            &ProxyInputs { shadow: Shadow::Excluded, ..inputs.clone() },
            &mut Memo::default(),
        )
    }

    /// Names of a proxy's resources of a type.
    pub(crate) fn names(&mut self, dataplane: &str, ty: ResourceType) -> Vec<String> {
        let config = self.config(dataplane).unwrap();
        config.of(ty).iter().map(|entry| entry.resource.name.to_string()).collect()
    }
}
