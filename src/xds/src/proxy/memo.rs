//! What a proxy's configuration was last made from.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hash;
use std::sync::{Arc, OnceLock};

use model::{Kind, Resource, registry};
use policy::Rules;
use xxhash_rust::xxh3::Xxh3;

use super::ProxyInputs;
use super::derived::Proxy;
use super::edit::{INBOUND_ONLY, Part};
use super::outbound_part::OutboundPart;
use super::shared::{Count, InputsHash};
use crate::generators::tls::TlsIdentity;
use crate::proxy_config::{EncodedResource, Entry, PolicyFault, ProxyConfig, ResourceType, TypeConfig};
use crate::view::{DataplaneEntry, MeshView, Outbounds, Policies, vips::Vips};

/// A part of what is a proxy's own, encoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OwnPart {
    pub(super) clusters: TypeConfig,
    pub(super) endpoints: TypeConfig,
    pub(super) listeners: TypeConfig,
    pub(super) secrets: TypeConfig,
    pub(super) faults: Vec<PolicyFault>,
}

/// What is a proxy's own: in parts that change for different reasons, or all in one.
#[derive(Clone, Debug, Default)]
pub(super) struct OwnParts {
    pub(super) whole: Option<Arc<OwnPart>>,
    pub(super) inbounds: Option<Arc<OwnPart>>,
    pub(super) surroundings: Option<Arc<OwnPart>>,
    pub(super) secrets: Option<Arc<OwnPart>>,
}

impl OwnParts {
    fn all(&self) -> [Option<&Arc<OwnPart>>; 4] {
        [self.whole.as_ref(), self.surroundings.as_ref(), self.inbounds.as_ref(), self.secrets.as_ref()]
    }

    fn is_same(&self, other: &Self) -> bool {
        self.all().into_iter().zip(other.all()).all(|(a, b)| match (a, b) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        })
    }

    /// Whether both have the same resources of a type.
    fn has_same(&self, other: &Self, ty: ResourceType) -> bool {
        self.all().into_iter().zip(other.all()).all(|(a, b)| match (a, b) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b) || a.of(ty) == b.of(ty),
            (None, None) => true,
            (Some(one), None) | (None, Some(one)) => one.of(ty).is_empty(),
        })
    }
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
    trust_domains: BTreeSet<String>,
    vips: Arc<OnceLock<Vips>>,
    otel_backends: Vec<Arc<Resource>>,
    identity: Option<TlsIdentity>,
    called: Outbounds,
    rules: Arc<BTreeMap<Kind, Rules>>,
    said: RulesHashes,
    own: OwnParts,
    outbounds: Arc<OutboundPart>,
    config: Arc<ProxyConfig>,
}

/// Digests of what policies say that parts depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RulesHashes {
    inbounds: InputsHash,
    surroundings: InputsHash,
}

impl Memo {
    /// What all policies say on a dataplane. Kinds of which nothing changed are not matched again.
    pub(super) fn rules(
        &self,
        view: &MeshView,
        inputs: &ProxyInputs,
        entry: &Arc<DataplaneEntry>,
    ) -> Arc<BTreeMap<Kind, Rules>> {
        let policies = view.policies();
        let is_same = |last: &&Last| Arc::ptr_eq(&last.entry, entry) && last.inputs.shadow == inputs.shadow;
        let last = self.last.as_ref().filter(is_same);
        if let Some(last) = last.filter(|last| Arc::ptr_eq(&last.policies, policies)) {
            return Arc::clone(&last.rules);
        }
        view.shared.count(Count::Matched);
        let known = |kind: Kind| {
            let last = last.filter(|last| last.policies.has_same_book(policies, kind))?;
            last.rules.get(&kind).cloned()
        };
        let rules = |kind| {
            let rules = known(kind).or_else(|| Some(policies.book(kind)?.rules(&entry.subject, inputs.shadow)))?;
            Some((kind, rules))
        };
        Arc::new(policies.kinds().filter_map(rules).collect())
    }

    /// What the proxy calls, when neither it nor any destination changed.
    pub(super) fn outbounds(
        &self,
        view: &MeshView,
        inputs: &ProxyInputs,
        entry: &Arc<DataplaneEntry>,
    ) -> Option<Outbounds> {
        let is_same = |last: &&Last| {
            Arc::ptr_eq(&last.entry, entry)
                && Arc::ptr_eq(&last.inputs.metadata, &inputs.metadata)
                && Arc::ptr_eq(&last.vips, view.vips())
                && last.policies.has_same_destinations(view.policies())
        };
        self.last.as_ref().filter(is_same).map(|last| last.called.clone())
    }

    /// Digests of what policies say that the proxy's own parts depend on.
    pub(super) fn rules_hashes(&self, proxy: &Proxy<'_>) -> RulesHashes {
        match &self.last {
            Some(last) if Arc::ptr_eq(&last.rules, &proxy.rules) => last.said,
            Some(_) | None => proxy.rules_hashes(),
        }
    }

    /// What is the proxy's own; parts of the last time where nothing that they depend on is different.
    pub(super) fn own(&self, proxy: &Proxy<'_>, said: RulesHashes) -> OwnParts {
        let kept = self.last.as_ref().map(|last| last.kept(proxy, said)).unwrap_or_default();
        OwnParts {
            whole: None,
            inbounds: kept.inbounds.or_else(|| Some(Arc::new(proxy.inbound_part()))),
            surroundings: kept.surroundings.or_else(|| Some(Arc::new(proxy.surrounding_part()))),
            secrets: kept.secrets.or_else(|| Some(Arc::new(proxy.secret_part()))),
        }
    }

    /// Puts the parts together, and remembers them.
    pub(super) fn finish(
        &mut self,
        proxy: &Proxy<'_>,
        said: RulesHashes,
        own: OwnParts,
        outbounds: Arc<OutboundPart>,
    ) -> Arc<ProxyConfig> {
        let config = self.assemble(&own, &outbounds);
        self.last = Some(Last {
            inputs: proxy.inputs.clone(),
            entry: Arc::clone(proxy.entry),
            policies: Arc::clone(proxy.view.policies()),
            trusted_cas: Arc::clone(proxy.view.trusted_cas()),
            trust_domains: proxy.trust_domains.clone(),
            vips: Arc::clone(proxy.view.vips()),
            otel_backends: proxy.otel_backends.clone(),
            identity: proxy.identity.clone(),
            called: proxy.outbounds.clone(),
            rules: Arc::clone(&proxy.rules),
            said,
            own,
            outbounds,
            config: Arc::clone(&config),
        });
        config
    }
}

impl Last {
    /// The parts that are the same for `proxy`, of which policies say what `said` digests.
    fn kept(&self, proxy: &Proxy<'_>, said: RulesHashes) -> OwnParts {
        let is_same_proxy = Arc::ptr_eq(&self.entry, proxy.entry)
            && Arc::ptr_eq(&self.inputs.metadata, &proxy.inputs.metadata)
            && self.inputs.dataplane == proxy.inputs.dataplane
            && self.identity == proxy.identity
            && self.trust_domains == proxy.trust_domains
            && is_same_list(&self.otel_backends, &proxy.otel_backends);
        let has_same_inbounds = is_same_proxy && self.said.inbounds == said.inbounds;
        let has_same_surroundings = is_same_proxy
            && self.said.surroundings == said.surroundings
            && is_same(self.inputs.admin.as_ref(), proxy.inputs.admin.as_ref())
            && Arc::ptr_eq(&self.vips, proxy.view.vips())
            && self.called.hash == proxy.outbounds.hash
            && !proxy.depends_on_others();
        let has_same_secrets = is_same_proxy
            && is_same(self.inputs.identity.as_ref(), proxy.inputs.identity.as_ref())
            && Arc::ptr_eq(&self.trusted_cas, proxy.view.trusted_cas());
        OwnParts {
            whole: None,
            inbounds: self.own.inbounds.clone().filter(|_| has_same_inbounds),
            surroundings: self.own.surroundings.clone().filter(|_| has_same_surroundings),
            secrets: self.own.secrets.clone().filter(|_| has_same_secrets),
        }
    }
}

impl Memo {
    /// A configuration of these parts. Each type that is the same as the last time is taken from there.
    fn assemble(&self, own: &OwnParts, outbounds: &Arc<OutboundPart>) -> Arc<ProxyConfig> {
        let last = self.last.as_ref();
        if let Some(last) = last
            && last.own.is_same(own)
            && Arc::ptr_eq(&last.outbounds, outbounds)
        {
            return Arc::clone(&last.config);
        }
        let mut types = BTreeMap::new();
        for ty in [ResourceType::Cluster, ResourceType::Endpoint, ResourceType::Listener, ResourceType::Secret] {
            let before = last.and_then(|last| last.config.types.get(&ty));
            let shared = outbounds.of(ty);
            let is_same = last.is_some_and(|last| {
                last.own.has_same(own, ty)
                    && (ty == ResourceType::Secret || Arc::ptr_eq(&last.outbounds.of(ty), &shared))
            });
            let all = match before {
                Some(before) if is_same => Arc::clone(before),
                Some(_) | None => merged(own, ty, &shared),
            };
            if !all.is_empty() {
                types.insert(ty, all);
            }
        }
        let own_faults = own.all().into_iter().flatten().flat_map(|part| &part.faults);
        let mut faults: Vec<_> = own_faults.chain(&outbounds.faults).cloned().collect();
        faults.sort();
        faults.dedup();
        let config = ProxyConfig { types, faults };
        match last {
            Some(last) if last.config.shares_all(&config) => Arc::clone(&last.config),
            Some(_) | None => Arc::new(config),
        }
    }
}

/// All resources of a type: the proxy's own, and over them those of its outbounds.
fn merged(own: &OwnParts, ty: ResourceType, outbounds: &Arc<TypeConfig>) -> Arc<TypeConfig> {
    let mut parts = own.all().into_iter().flatten().map(|part| part.of(ty)).filter(|part| !part.is_empty()).peekable();
    if parts.peek().is_none() {
        return Arc::clone(outbounds);
    }
    let mut all = (**outbounds).clone();
    for (name, entry) in parts.flatten() {
        all.entry(Arc::clone(name)).or_insert_with(|| entry.clone());
    }
    Arc::new(all)
}

impl OwnPart {
    /// Adds a resource, under the hash of its content as version.
    pub(super) fn add(&mut self, resource: Arc<EncodedResource>) {
        let config = match resource.ty {
            ResourceType::Cluster => &mut self.clusters,
            ResourceType::Endpoint => &mut self.endpoints,
            ResourceType::Listener => &mut self.listeners,
            ResourceType::Secret => &mut self.secrets,
            ResourceType::Route => return,
        };
        let version = resource.hash;
        config.insert(Arc::clone(&resource.name), Entry { resource, version });
    }

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

fn is_same<T>(a: Option<&Arc<T>>, b: Option<&Arc<T>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

fn is_same_list<T>(a: &[Arc<T>], b: &[Arc<T>]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| Arc::ptr_eq(a, b))
}

impl Proxy<'_> {
    /// Digests of what policies say that its parts depend on.
    fn rules_hashes(&self) -> RulesHashes {
        let (mut inbounds, mut surroundings) = (Xxh3::new(), Xxh3::new());
        for rules in self.rules.values() {
            for (key, inbound) in &rules.inbound {
                let said = (rules.kind, key, self.view.policies().inbound_digest(inbound));
                said.hash(&mut inbounds);
                if !INBOUND_ONLY.contains(&rules.kind) {
                    said.hash(&mut surroundings);
                }
            }
            if let Some(conf) = &rules.proxy {
                let said = (rules.kind, conf.conf.value().to_string());
                said.hash(&mut surroundings);
                if Part::Inbounds.is_edited_by(rules.kind) {
                    said.hash(&mut inbounds);
                }
            }
            if !TO_IS_FOR_DESTINATIONS.contains(&rules.kind) && !rules.to.is_empty() {
                (rules.kind, self.view.policies().digests(&rules.to)).hash(&mut surroundings);
            }
        }
        RulesHashes { inbounds: inbounds.digest128(), surroundings: surroundings.digest128() }
    }

    /// Whether its surroundings look at other dataplanes or at destinations that it does not call.
    fn depends_on_others(&self) -> bool {
        let redirection = self.entry.spec.networking.as_ref().and_then(|n| n.transparent_proxying.as_ref());
        !self.zone_listeners.is_empty() || redirection.is_some_and(|r| !r.direct_access_services.is_empty())
    }
}
