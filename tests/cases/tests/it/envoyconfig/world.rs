//! A zone as Kuma's own end-to-end tests set it up: resources through the REST API, then the duties
//! of the leader, then the configuration of each proxy through the REST API.

use std::sync::Arc;

use actors::duties::settings::LabelPropagation;
use actors::duties::{DutySettings, Focus, Index, Memory, Pass, keep_all};
use anyhow::{Context, Result, bail};
use api::{ApiState, Connection, GuiSettings, Settings};
use axum::body::Body;
use http::Request;
use http_body_util::BodyExt;
use model::labels::Site;
use model::{Key, Labels, Spec, Timestamp, registry};
use serde_json::{Value, json};
use store::{MemoryStore, State, Store, Txn};
use tower::ServiceExt;

const ZONE: &str = "kuma-3";

/// A proxy of a world.
pub(super) struct Proxy {
    pub name: &'static str,
    pub labels: Value,
    pub networking: Value,
    pub reuse_port: bool,
}

/// What a world consists of.
pub(super) struct Fleet {
    pub mesh: &'static str,
    pub identity: &'static str,
    pub proxies: Vec<Proxy>,
    pub resources: Vec<Value>,
}

/// A zone with a mesh, its dataplanes and its policies.
pub(super) struct World {
    mesh: &'static str,
    store: Arc<MemoryStore>,
}

impl World {
    /// A zone without policies but the permission for everyone of the mesh.
    pub(super) async fn new(fleet: &Fleet) -> Result<Self> {
        let world = Self { mesh: fleet.mesh, store: Arc::new(MemoryStore::new()) };
        let mesh = json!({"type": "Mesh", "name": fleet.mesh, "skipCreatingInitialPolicies": ["*"]});
        world.put(mesh).await?;
        for generator in model::defaults::hostname_generators(&world.settings().site) {
            let key = Key::global(registry::HOSTNAME_GENERATOR, generator.name);
            world
                .store
                .commit_at(&Txn::new().put(key, generator.labels, Spec::of(generator.spec)?), Timestamp::now())?;
        }
        world.put(identity(fleet.identity)).await?;
        let domain = format!("spiffe://{}.{ZONE}.mesh.local", fleet.mesh);
        world
            .put(json!({
                "type": "MeshTrafficPermission", "name": format!("allow-all-{}-0", fleet.mesh),
                "spec": {"targetRef": {"kind": "Mesh"}, "rules": [
                    {"default": {"allow": [{"spiffeID": {"type": "Prefix", "value": domain}}]}},
                ]},
            }))
            .await?;
        for (index, proxy) in fleet.proxies.iter().enumerate() {
            world.connect(proxy, &format!("172.18.0.{}", index + 2)).await?;
        }
        for resource in &fleet.resources {
            world.put(resource.clone()).await?;
        }
        world.keep_duties()?;
        Ok(world)
    }

    fn settings(&self) -> Settings {
        let gui = GuiSettings { enabled: false, ..Settings::default().gui };
        Settings { site: Site::universal_zone(ZONE), gui, ..Settings::default() }
    }

    /// The same world with more policies.
    pub(super) async fn with(&self, policies: &str) -> Result<Self> {
        let state: State = (*self.store.snapshot()).clone();
        let world = Self { mesh: self.mesh, store: Arc::new(MemoryStore::with_state(state)) };
        for policy in model::yaml::read_all(policies)?.into_iter().filter(Value::is_object) {
            world.put(policy).await?;
        }
        Ok(world)
    }

    /// Registers a dataplane and what its proxy says of itself.
    async fn connect(&self, proxy: &Proxy, address: &str) -> Result<()> {
        let mut networking = proxy.networking.clone();
        networking["address"] = Value::from(address);
        if let Some(listener) = networking["listeners"].get_mut(0) {
            listener["address"] = Value::from(address);
        }
        if networking["listeners"].is_null() {
            networking.as_object_mut().map(|fields| fields.remove("listeners"));
        }
        let is_transparent = networking.get("transparentProxying").is_some();
        self.put(json!({
            "type": "Dataplane", "name": proxy.name, "labels": proxy.labels, "networking": networking,
        }))
        .await?;
        let mut features =
            vec!["feature-tcp-accesslog-via-named-pipe", "feature-otel-via-kuma-dp", "feature-strict-inbound-ports"];
        if proxy.reuse_port {
            features.push("feature-reuse-port");
        }
        let mut metadata = json!({
            "dataplane.proxyType": "dataplane", "dataplane.admin.port": "9901", "dataplane.admin.address": "127.0.0.1",
            "dataplane.readinessReporter.port": "9902", "features": features, "workdir": "/tmp",
            "ipv6Enabled": false, "systemCaPath": "/etc/ssl/certs/ca-certificates.crt",
        });
        if is_transparent {
            metadata["dataplane.dns.port"] = Value::from("15053");
        }
        let spec = registry::DATAPLANE_INSIGHT.codec.admit(json!({"metadata": metadata}))?;
        let key = Key::new(registry::DATAPLANE_INSIGHT, self.mesh, proxy.name);
        self.store.commit_at(&Txn::new().put(key, Labels::new(), spec), Timestamp::now())?;
        Ok(())
    }

    /// What a proxy should run, as `kumactl inspect dataplane --type config --shadow --include=diff`
    /// shows it.
    pub(super) async fn config(&self, proxy: &str) -> Result<Value> {
        let path = format!("/meshes/{}/dataplanes/{proxy}/_config?shadow=true&include=diff", self.mesh);
        self.call("GET", &path, None).await
    }

    async fn put(&self, mut document: Value) -> Result<()> {
        let kind = document["type"].as_str().and_then(registry::by_name).context("a known type")?;
        let name = document["name"].as_str().context("a name")?.to_owned();
        let path = if kind == registry::MESH {
            format!("/meshes/{name}")
        } else {
            document["mesh"] = Value::from(self.mesh);
            format!("/meshes/{}/{}/{name}", self.mesh, kind.path)
        };
        self.call("PUT", &path, Some(document)).await?;
        Ok(())
    }

    async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Result<Value> {
        let store: Arc<dyn Store> = self.store.clone();
        let router = api::router(ApiState::new(store, self.settings()));
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost:5681");
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let mut request = request.body(body.map_or_else(Body::empty, |body| Body::from(body.to_string())))?;
        request.extensions_mut().insert(Connection { peer: ([127, 0, 0, 1], 40000).into(), tls: false });
        let response = router.oneshot(request).await?;
        let status = response.status();
        let answer = response.into_body().collect().await?.to_bytes();
        if !status.is_success() {
            bail!("{method} {path}: {status}: {}", String::from_utf8_lossy(&answer));
        }
        Ok(serde_json::from_slice(&answer).unwrap_or_default())
    }

    /// Passes of the duties until nothing is left to do.
    fn keep_duties(&self) -> Result<()> {
        let settings = DutySettings {
            zone: ZONE.to_owned(),
            label_propagation: Some(LabelPropagation::default()),
            ..DutySettings::default()
        };
        let mut memory = Memory::default();
        for _ in 0..10 {
            let (state, mut focus) = (self.store.snapshot(), Focus::default());
            let index = Index::of(&state, &settings, &mut focus);
            let mut pass = Pass::new(state, index, focus, Timestamp::now());
            keep_all(&mut pass, false, &settings, &mut memory);
            let term = self.store.leadership().borrow().term;
            let (txn, _, faults) = pass.finish(term);
            if !faults.is_empty() {
                bail!("duties: {faults:?}");
            }
            if txn.ops.is_empty() {
                return Ok(());
            }
            self.store.commit_at(&txn, Timestamp::now())?;
        }
        bail!("the duties never rest")
    }
}

fn identity(name: &str) -> Value {
    json!({
        "type": "MeshIdentity", "name": name,
        "spec": {
            "selector": {"dataplane": {"matchLabels": {}}},
            "spiffeID": {"trustDomain": "{{ .Mesh }}.{{ .Zone }}.mesh.local"},
            "provider": {"type": "Bundled", "bundled": {
                "meshTrustCreation": "Enabled",
                "insecureAllowSelfSigned": true,
                "certificateParameters": {"expiry": "24h"},
                "autogenerate": {"enabled": true},
            }},
        },
    })
}
