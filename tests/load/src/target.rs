//! What is measured: a control plane with a mesh of services, or the bare server.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use sandbox::{ControlPlane, ControlPlaneSettings, Sandbox};
use serde_json::{Value, json};

use crate::changes::Write;
use crate::proxy::Identity;
use crate::tls::Dialer;

pub(crate) const MESH: &str = "default";

/// A control plane under load.
pub(crate) struct Target {
    pub(crate) control_plane: ControlPlane,
    pub(crate) dialer: Dialer,
    pub(crate) started_in: Duration,
    /// Process id of the control plane.
    pub(crate) pid: u32,
    tokens: Vec<Arc<str>>,
}

impl Target {
    /// Starts a control plane with identities on, and gets a token for each service's workload.
    pub(crate) async fn start(sandbox: &Sandbox, services: usize) -> Result<Self> {
        let began = std::time::Instant::now();
        let settings =
            ControlPlaneSettings { variables: vec![("KUMA_XDS_DATAPLANE_DEREGISTRATION_DELAY", "60s".to_owned())] };
        let mut control_plane = ControlPlane::start(sandbox, "kuma-cp", settings).await?;
        let started_in = began.elapsed();
        control_plane.apply(&identity()).await?;
        let mut tokens = Vec::new();
        for service in 0..services {
            tokens.push(control_plane.dataplane_token(MESH, "", &workload(service)).await?.into());
        }
        let ca = std::fs::read_to_string(control_plane.ca_file()).context("no certificate")?;
        let port = control_plane.dp_server().rsplit(':').next().and_then(|p| p.parse().ok()).context("no port")?;
        let pid = control_plane.process().id().context("the control plane has ended")?;
        Ok(Self { dialer: Dialer::new(&ca, port)?, control_plane, started_in, pid, tokens })
    }

    /// Stops the control plane and starts it again; how long the start took.
    pub(crate) async fn restart(&mut self) -> Result<Duration> {
        self.control_plane.process().stop().await?;
        let began = std::time::Instant::now();
        self.control_plane.start_again().await?;
        self.pid = self.control_plane.process().id().context("the control plane has ended")?;
        Ok(began.elapsed())
    }

    /// Writes a change.
    pub(crate) async fn write(&self, write: &Write) -> Result<()> {
        match write {
            Write::Put(resource) => self.control_plane.apply(resource).await,
            Write::Delete(path) => self.control_plane.delete(path).await,
        }
    }

    /// The sum and the count of a histogram, by a label.
    pub(crate) async fn histogram(&self, name: &str, label: &str) -> Result<BTreeMap<String, (f64, f64)>> {
        let mut found: BTreeMap<String, (f64, f64)> = BTreeMap::new();
        for line in self.control_plane.scrape().await?.lines() {
            let Some((series, value)) = line.strip_prefix(name).and_then(|rest| rest.rsplit_once(' ')) else {
                continue;
            };
            let labels = series.split(['{', ',', '}']);
            let value_of =
                |part: &str| part.strip_prefix(label)?.strip_prefix("=\"")?.strip_suffix('"').map(str::to_owned);
            let label = labels.filter_map(value_of).next().unwrap_or_default();
            let value: f64 = value.parse().unwrap_or_default();
            match series.split('{').next() {
                Some("_sum") => found.entry(label).or_default().0 += value,
                Some("_count") => found.entry(label).or_default().1 += value,
                _ => {}
            }
        }
        Ok(found)
    }

    /// A dataplane that no proxy runs, of one of the services.
    pub(crate) fn registered(&self, number: usize) -> Value {
        let service = number % self.tokens.len();
        dataplane(&format!("registered-{number}"), service, &address(300_000 + number), None)
    }

    /// A service that no proxy reaches when each names what it reaches. Its dataplanes are those of any
    /// other service but the first, whose endpoint moves.
    pub(crate) fn unrelated(&self, number: usize) -> Value {
        let others = (self.tokens.len() - 1).max(1);
        json!({
            "type": "MeshService", "mesh": MESH, "name": format!("unrelated-{number}"),
            "spec": {
                "selector": {"dataplaneLabels": {"matchLabels": {"kuma.io/workload": workload(1 + number % others)}}},
                "ports": [{"port": 80, "name": "http", "targetPort": 8080, "appProtocol": "http"}],
            },
        })
    }

    /// Where the API has the authority of the identity.
    pub(crate) fn authority_paths(&self) -> [String; 2] {
        ["root-ca", "private-key"].map(|part| format!("/meshes/{MESH}/secrets/identity-{part}"))
    }

    /// A proxy of any service but the first, whose endpoints others count.
    pub(crate) fn newcomer(&self, number: usize, reachable: Option<usize>) -> Identity {
        let number = if number.is_multiple_of(self.tokens.len()) { number + 1_000_001 } else { number };
        self.proxy(number, reachable)
    }

    /// The identity of a proxy: one of the service that its number falls to.
    pub(crate) fn proxy(&self, number: usize, reachable: Option<usize>) -> Identity {
        let service = number % self.tokens.len();
        let name = format!("proxy-{number}");
        Identity {
            mesh: MESH.into(),
            token: Arc::clone(&self.tokens[service]),
            resource: dataplane(&name, service, &address(number), reachable).to_string(),
            name,
            secrets: vec!["system_trust_bundle".to_owned(), "kri_mid_default_default__identity_".to_owned()].into(),
        }
    }
}

/// The workload of a service.
pub(crate) fn workload(service: usize) -> String {
    format!("service-{service}")
}

/// A distinct address.
pub(crate) fn address(number: usize) -> String {
    format!("10.{}.{}.{}", number / 65_536, number / 256 % 256, number % 256)
}

/// A Dataplane of a service; with `reachable` it calls so many services, else all.
pub(crate) fn dataplane(name: &str, service: usize, address: &str, reachable: Option<usize>) -> Value {
    let mut transparent = json!({"redirectPortInbound": 15006, "redirectPortOutbound": 15001});
    if let Some(reachable) = reachable {
        let refs: Vec<_> = (0..reachable).map(|i| json!({"kind": "MeshService", "name": workload(i)})).collect();
        transparent["reachableBackends"] = json!({"refs": refs});
    }
    json!({
        "type": "Dataplane", "mesh": MESH, "name": name, "labels": {"kuma.io/workload": workload(service)},
        "networking": {
            "address": address,
            "inbound": [{"port": 8080, "protocol": "http", "name": "main"}],
            "transparentProxying": transparent,
        },
    })
}

fn identity() -> Value {
    json!({
        "type": "MeshIdentity", "mesh": MESH, "name": "identity",
        "spec": {
            "selector": {"dataplane": {"matchLabels": {}}},
            "provider": {"type": "Bundled", "bundled": {"autogenerate": {"enabled": true}, "insecureAllowSelfSigned": true}},
        },
    })
}
