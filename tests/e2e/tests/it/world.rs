//! A mesh with a client and a backend, both with identities.

use std::time::Duration;

use anyhow::{Context, Result};
use sandbox::{ControlPlane, ControlPlaneSettings, Outbound, Proxy, ProxySettings, Sandbox, Workload};
use serde_json::{Value, json};

/// How long a change may take to be seen.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// A running mesh.
pub(crate) struct World {
    pub(crate) client: Proxy,
    pub(crate) backend: Proxy,
    pub(crate) control_plane: ControlPlane,
    pub(crate) sandbox: Sandbox,
    _workload: Workload,
}

/// The identity of every workload; certificates live for `expiry`.
pub(crate) fn identity(expiry: &str) -> Value {
    json!({
        "type": "MeshIdentity",
        "mesh": "default",
        "name": "identity",
        "spec": {
            "selector": {"dataplane": {"matchLabels": {}}},
            "provider": {
                "type": "Bundled",
                "bundled": {
                    "autogenerate": {"enabled": true},
                    "insecureAllowSelfSigned": true,
                    "certificateParameters": {"expiry": expiry},
                },
            },
        },
    })
}

/// A permission for clients by SPIFFE ID.
pub(crate) fn allow(kind: &str, value: &str) -> Value {
    json!({
        "type": "MeshTrafficPermission",
        "mesh": "default",
        "name": "allow",
        "spec": {"rules": [{"default": {"allow": [{"spiffeID": {"type": kind, "value": value}}]}}]},
    })
}

/// Permission for everybody of the trust domain.
pub(crate) fn allow_all() -> Value {
    allow("Prefix", "spiffe://default.default.mesh.local")
}

impl World {
    /// A mesh whose certificates live for `expiry`, in which nothing is permitted yet.
    pub(crate) async fn start(expiry: &str) -> Result<Self> {
        let sandbox = Sandbox::new().await?;
        let variables = vec![("KUMA_XDS_SERVER_VERIFY_VIEWS", "true".to_owned())];
        let control_plane = ControlPlane::start(&sandbox, "kuma-cp", ControlPlaneSettings { variables }).await?;
        control_plane.apply(&identity(expiry)).await?;
        let workload = Workload::start("backend").await?;
        let backend = ProxySettings::service("default", "backend-1", "backend", workload.port());
        let backend = Proxy::start(&sandbox, &control_plane, &backend).await?;
        let client = ProxySettings {
            mesh: "default".to_owned(),
            name: "client-1".to_owned(),
            workload: "client".to_owned(),
            protocol: "http",
            workload_port: None,
            outbounds: vec![Outbound { kind: "MeshService", name: "backend".to_owned(), port: backend.inbound_port() }],
        };
        let client = Proxy::start(&sandbox, &control_plane, &client).await?;
        let world = Self { client, backend, control_plane, sandbox, _workload: workload };
        world.until_mtls().await?;
        Ok(world)
    }

    /// A mesh in which everybody may call everybody, and the client does.
    pub(crate) async fn permitted(expiry: &str) -> Result<Self> {
        let world = Self::start(expiry).await?;
        world.control_plane.apply(&allow_all()).await?;
        world.client.call_until(SOON, |status, _| status == 200).await.context("the client is not let in")?;
        Ok(world)
    }

    async fn until_mtls(&self) -> Result<()> {
        let ready = |service: &Value| service.pointer("/status/tls/status").is_some_and(|s| s == "Ready");
        self.control_plane.until("/meshes/default/meshservices/backend", SOON, ready).await.context("no mTLS")?;
        Ok(())
    }
}
