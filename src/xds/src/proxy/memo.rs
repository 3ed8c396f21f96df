//! What a proxy's configuration was last made from.

use std::collections::BTreeMap;
use std::hash::Hash;
use std::sync::{Arc, OnceLock};

use model::{Kind, Resource, registry};
use policy::Rules;
use xxhash_rust::xxh3::Xxh3;

use super::ProxyInputs;
use super::derived::Proxy;
use super::outbound_part::OutboundPart;
use super::shared::InputsHash;
use crate::proxy_config::{ContentHash, PolicyFault, ProxyConfig, ResourceType, TypeConfig};
use crate::view::{DataplaneEntry, MeshView, Policies, vips::Vips};

/// Everything of a proxy but its outbounds, encoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OwnPart {
    pub(super) clusters: TypeConfig,
    pub(super) endpoints: TypeConfig,
    pub(super) listeners: TypeConfig,
    pub(super) secrets: TypeConfig,
    pub(super) faults: Vec<PolicyFault>,
}

/// Remembers how one proxy's configuration came about, so that the next is made from what changed.
/// One a proxy; it may be thrown away at any time.
#[derive(Debug, Default)]
pub struct Memo {
    last: Option<Last>,
}

#[derive(Debug)]
struct Last {
    inputs: ProxyInputs,
    entry: Arc<DataplaneEntry>,
    policies: Arc<Policies>,
    trusted_cas: Arc<BTreeMap<String, Vec<String>>>,
    vips: Arc<OnceLock<Vips>>,
    otel_backends: Vec<Arc<Resource>>,
    outbounds_hash: ContentHash,
    rules: Arc<BTreeMap<Kind, Rules>>,
    own_rules: InputsHash,
    own: Arc<OwnPart>,
    outbounds: Arc<OutboundPart>,
    config: Arc<ProxyConfig>,
}

impl Memo {
    /// The rules of the last time, when they still hold.
    pub(super) fn rules(
        &self,
        view: &MeshView,
        inputs: &ProxyInputs,
        entry: &Arc<DataplaneEntry>,
    ) -> Option<Arc<BTreeMap<Kind, Rules>>> {
        let last = self.last.as_ref()?;
        let is_same = Arc::ptr_eq(&last.entry, entry)
            && Arc::ptr_eq(&last.policies, view.policies())
            && last.inputs.shadow == inputs.shadow;
        is_same.then(|| Arc::clone(&last.rules))
    }

    /// The own part of the last time, when nothing that it depends on is different.
    pub(super) fn own(&self, proxy: &Proxy<'_>) -> Option<Arc<OwnPart>> {
        let last = self.last.as_ref()?;
        let is_same = last.inputs.is_same(proxy.inputs)
            && Arc::ptr_eq(&last.entry, proxy.entry)
            && (Arc::ptr_eq(&last.rules, &proxy.rules) || last.own_rules == proxy.own_rules())
            && Arc::ptr_eq(&last.trusted_cas, proxy.view.trusted_cas())
            && Arc::ptr_eq(&last.vips, proxy.view.vips())
            && is_same_list(&last.otel_backends, &proxy.otel_backends)
            && last.outbounds_hash == proxy.outbounds.hash
            && !proxy.depends_on_others();
        is_same.then(|| Arc::clone(&last.own))
    }

    /// Puts the parts together, and remembers them.
    pub(super) fn finish(
        &mut self,
        proxy: &Proxy<'_>,
        own: Arc<OwnPart>,
        outbounds: Arc<OutboundPart>,
    ) -> Arc<ProxyConfig> {
        let config = self.assemble(&own, &outbounds);
        let own_rules = match &self.last {
            Some(last) if Arc::ptr_eq(&last.rules, &proxy.rules) => last.own_rules,
            Some(_) | None => proxy.own_rules(),
        };
        self.last = Some(Last {
            inputs: proxy.inputs.clone(),
            entry: Arc::clone(proxy.entry),
            policies: Arc::clone(proxy.view.policies()),
            trusted_cas: Arc::clone(proxy.view.trusted_cas()),
            vips: Arc::clone(proxy.view.vips()),
            otel_backends: proxy.otel_backends.clone(),
            outbounds_hash: proxy.outbounds.hash,
            rules: Arc::clone(&proxy.rules),
            own_rules,
            own,
            outbounds,
            config: Arc::clone(&config),
        });
        config
    }
}

impl Memo {
    /// A configuration of these parts. Each type that is the same as the last time is taken from there.
    fn assemble(&self, own: &Arc<OwnPart>, outbounds: &Arc<OutboundPart>) -> Arc<ProxyConfig> {
        let last = self.last.as_ref();
        if let Some(last) = last
            && Arc::ptr_eq(&last.own, own)
            && Arc::ptr_eq(&last.outbounds, outbounds)
        {
            return Arc::clone(&last.config);
        }
        let mut types = BTreeMap::new();
        for ty in [ResourceType::Cluster, ResourceType::Endpoint, ResourceType::Listener, ResourceType::Secret] {
            let before = last.and_then(|last| last.config.types.get(&ty));
            let shared = outbounds.of(ty);
            let is_same = last.is_some_and(|last| {
                let own_is_same = Arc::ptr_eq(&last.own, own);
                own_is_same && (ty == ResourceType::Secret || Arc::ptr_eq(&last.outbounds.of(ty), &shared))
            });
            let all = match before {
                Some(before) if is_same => Arc::clone(before),
                _ => {
                    let all = merged(own.of(ty), &shared);
                    before.filter(|before| **before == all).cloned().unwrap_or(all)
                }
            };
            if !all.is_empty() {
                types.insert(ty, all);
            }
        }
        let mut faults: Vec<_> = own.faults.iter().chain(&outbounds.faults).cloned().collect();
        faults.sort();
        faults.dedup();
        let config = ProxyConfig { types, faults };
        match last {
            Some(last) if *last.config == config => Arc::clone(&last.config),
            Some(_) | None => Arc::new(config),
        }
    }
}

/// All resources of a type: the proxy's own, and over them those of its outbounds.
fn merged(own: &TypeConfig, outbounds: &Arc<TypeConfig>) -> Arc<TypeConfig> {
    if own.is_empty() {
        return Arc::clone(outbounds);
    }
    let mut all = (**outbounds).clone();
    for (name, entry) in own {
        all.entry(Arc::clone(name)).or_insert_with(|| entry.clone());
    }
    Arc::new(all)
}

impl OwnPart {
    pub(super) fn of(&self, ty: ResourceType) -> &TypeConfig {
        match ty {
            ResourceType::Cluster => &self.clusters,
            ResourceType::Endpoint => &self.endpoints,
            ResourceType::Listener => &self.listeners,
            ResourceType::Secret => &self.secrets,
            ResourceType::Route => &NO_RESOURCES,
        }
    }
}

static NO_RESOURCES: TypeConfig = TypeConfig::new();

/// Policies whose `to` is for destinations alone, and not for all that leaves the proxy.
const TO_IS_FOR_DESTINATIONS: [Kind; 7] = [
    registry::MESH_HTTP_ROUTE,
    registry::MESH_TCP_ROUTE,
    registry::MESH_LOAD_BALANCING_STRATEGY,
    registry::MESH_TIMEOUT,
    registry::MESH_HEALTH_CHECK,
    registry::MESH_CIRCUIT_BREAKER,
    registry::MESH_RETRY,
];

fn is_same_list<T>(a: &[Arc<T>], b: &[Arc<T>]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| Arc::ptr_eq(a, b))
}

impl Proxy<'_> {
    /// A digest of what policies say that its own part depends on.
    fn own_rules(&self) -> InputsHash {
        let mut hasher = Xxh3::new();
        for rules in self.rules.values() {
            rules.kind.hash(&mut hasher);
            for (key, inbound) in &rules.inbound {
                (key, self.view.policies().inbound_digest(inbound)).hash(&mut hasher);
            }
            if let Some(conf) = &rules.proxy {
                conf.conf.value().to_string().hash(&mut hasher);
            }
            if !TO_IS_FOR_DESTINATIONS.contains(&rules.kind) && !rules.to.is_empty() {
                self.view.policies().digests(&rules.to).hash(&mut hasher);
            }
        }
        hasher.digest128()
    }

    /// Whether its own part looks at other dataplanes or at destinations that it does not call.
    fn depends_on_others(&self) -> bool {
        let redirection = self.entry.spec.networking.as_ref().and_then(|n| n.transparent_proxying.as_ref());
        !self.zone_listeners.is_empty() || redirection.is_some_and(|r| !r.direct_access_services.is_empty())
    }
}
