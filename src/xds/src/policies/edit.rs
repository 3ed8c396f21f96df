//! What policies know of the proxy that they edit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{Key, Kri, Labels, Resource, labels, registry};
use policy::{Conf, InboundRules, Policy, ResourceRule, Rules};
use serde::de::DeserializeOwned;

use crate::bootstrap::ProxyMetadata;
use crate::generators::inbound::Inbound;
use crate::generators::internal_addresses::InternalAddresses;
use crate::generators::tls::TlsIdentity;
use crate::generators::transparent_proxy;
use crate::generators::zone_listener::ZoneListener;
use crate::proxy_config::PolicyFault;
use crate::resource_set::{Origin, ResourceSet};

/// What policies know of a proxy.
#[derive(Clone, Copy, Debug)]
pub struct ProxyTraits<'a> {
    /// Its mesh.
    pub mesh: &'a str,
    /// Name of its Dataplane.
    pub name: &'a str,
    /// Address of its Dataplane.
    pub address: &'a str,
    /// Labels of its Dataplane.
    pub labels: &'a Labels,
    /// Tags of a delegated gateway; empty for other proxies.
    pub gateway_tags: &'a BTreeMap<String, String>,
    /// The zone that it runs in.
    pub zone: &'a str,
    /// Its identity; without one it speaks plaintext.
    pub identity: Option<&'a TlsIdentity>,
    /// The trust domains whose workloads it may talk to.
    pub trust_domains: &'a BTreeSet<String>,
    /// Its inbounds.
    pub inbounds: &'a [Inbound],
    /// Whether it is a delegated gateway.
    pub is_gateway: bool,
    /// Its listeners, when it is a zone proxy.
    pub zone_listeners: &'a [ZoneListener],
    /// What they are, [`Origin::Ingress`] and [`Origin::Egress`].
    pub zone_origins: &'a BTreeSet<Origin>,
    /// The passthrough of redirected connections; `None` when none are redirected.
    pub passthrough: Option<&'a transparent_proxy::Inputs>,
    /// The source addresses that count as internal.
    pub internal: &'a InternalAddresses,
    /// Whether redirected connections may be let in on ports of inbounds only (a feature of kuma-dp).
    pub strict_inbound_ports: bool,
    /// What kuma-dp says of itself.
    pub metadata: &'a ProxyMetadata,
    /// The MeshOpenTelemetryBackends of the mesh.
    pub otel_backends: &'a [Arc<Resource>],
}

impl ProxyTraits<'_> {
    /// The identifier of its Dataplane.
    pub fn kri(&self) -> Kri {
        Kri::new(&Key::new(registry::DATAPLANE, self.mesh, self.name), self.labels)
    }

    /// The name of the workload that it runs; `None` when its Dataplane states none.
    pub fn workload(&self) -> Option<&str> {
        self.labels.get(labels::WORKLOAD).map(String::as_str).filter(|name| !name.is_empty())
    }

    /// The identifier of the workload; empty when there is none.
    pub fn workload_kri(&self) -> String {
        let Some(workload) = self.workload() else { return String::new() };
        let mut own = self.labels.clone();
        own.insert(labels::DISPLAY_NAME.to_owned(), workload.to_owned());
        Kri::new(&Key::new(registry::WORKLOAD, self.mesh, workload), &own).to_string()
    }

    /// A path in the working directory of kuma-dp.
    pub fn socket(&self, file: &str) -> String {
        /// Longest path of a Unix socket, in bytes, without its suffix.
        const PATH_LEN_MAX: usize = 98;
        let mut path = if self.metadata.work_dir.is_empty() {
            file.to_owned()
        } else {
            format!("{}/{file}", self.metadata.work_dir)
        };
        while path.len() > PATH_LEN_MAX {
            path.pop();
        }
        path + ".sock"
    }
}

/// What could not be applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults(pub Vec<PolicyFault>);

impl Faults {
    /// Reads a merged conf. When that fails, the policy of the highest precedence that contributes
    /// to it is at fault.
    pub fn read<T>(&mut self, conf: &Conf, blamed: Option<&Arc<Policy>>) -> Option<Arc<T>>
    where
        T: DeserializeOwned + Send + Sync + 'static,
    {
        match conf.typed() {
            Ok(typed) => Some(typed),
            Err(e) => {
                self.blame(blamed, &e.to_string());
                None
            }
        }
    }

    /// Notes what is wrong with a policy, once.
    pub fn blame(&mut self, policy: Option<&Arc<Policy>>, message: &str) {
        if let Some(policy) = policy {
            let fault = PolicyFault { key: policy.resource.key.clone(), message: message.to_owned() };
            if !self.0.contains(&fault) {
                self.0.push(fault);
            }
        }
    }

    /// The conf for all clients of an inbound; `None` when no rule states one, or when it cannot be
    /// read.
    pub fn catch_all<T>(&mut self, rules: &InboundRules) -> Option<Arc<T>>
    where
        T: DeserializeOwned + Send + Sync + 'static,
    {
        let last = rules.rules.iter().rev().find(|rule| rule.matched.is_none())?;
        self.read(&rules.catch_all, Some(&last.origin.policy))
    }

    /// The conf for a destination.
    pub fn to<T>(&mut self, rule: Option<&Arc<ResourceRule>>) -> Option<Arc<T>>
    where
        T: DeserializeOwned + Send + Sync + 'static,
    {
        let rule = rule?;
        self.read(&rule.conf, rule.origin.last().map(|origin| &origin.policy))
    }
}

/// One policy's work on one proxy.
#[derive(Debug)]
pub struct Edit<'a> {
    /// The rules of the policy's kind.
    pub rules: &'a Rules,
    /// The proxy.
    pub proxy: &'a ProxyTraits<'a>,
    /// What it runs.
    pub set: &'a mut ResourceSet,
    /// What could not be applied.
    pub faults: &'a mut Faults,
}
