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
use super::parts::OwnParts;
use super::shared::{Count, InputsHash};
use crate::generators::tls::TlsIdentity;
use crate::proxy_config::ProxyConfig;
use crate::view::{DataplaneEntry, MeshView, Outbounds, Policies, vips::Vips};

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
    /// Whether the surroundings look at more of the mesh than what is kept here.
    depends_on_others: bool,
    /// Under which its view's proxies share their outbounds.
    class: InputsHash,
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
        let surroundings = kept.surroundings.unwrap_or_else(|| Arc::new(proxy.surrounding_part()));
        OwnParts {
            is_whole: false,
            inbounds: kept.inbounds.or_else(|| Some(Arc::new(proxy.inbound_part()))),
            names: kept.names.or_else(|| proxy.names_part()).filter(|_| !surroundings.has_names),
            surroundings: Some(surroundings),
            secrets: kept.secrets.or_else(|| Some(Arc::new(proxy.secret_part()))),
        }
    }

    /// The configuration of a proxy of which nothing can be different but what it has in common with the
    /// others, when one of them was asked already; `None` when it must be looked at.
    pub(super) fn follow(
        &mut self,
        view: &MeshView,
        inputs: &ProxyInputs,
        entry: &Arc<DataplaneEntry>,
    ) -> Option<Arc<ProxyConfig>> {
        let last = self.last.as_mut().filter(|last| last.is_unaffected(view, inputs, entry))?;
        let outbounds = view.shared.made_class(last.class)?;
        if !Arc::ptr_eq(&last.outbounds, &outbounds) {
            last.config = last.own.with(&outbounds, Some(&last.config));
            last.outbounds = outbounds;
        }
        Some(Arc::clone(&last.config))
    }

    /// Puts the parts together, and remembers them.
    pub(super) fn finish(
        &mut self,
        proxy: &Proxy<'_>,
        said: RulesHashes,
        own: OwnParts,
        (class, outbounds): (InputsHash, Arc<OutboundPart>),
    ) -> Arc<ProxyConfig> {
        let config = match &self.last {
            Some(last) if last.own.is_same(&own) && Arc::ptr_eq(&last.outbounds, &outbounds) => {
                Arc::clone(&last.config)
            }
            last => own.with(&outbounds, last.as_ref().map(|last| &last.config)),
        };
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
            depends_on_others: proxy.depends_on_others(),
            own,
            class,
            outbounds,
            config: Arc::clone(&config),
        });
        config
    }
}

impl Last {
    /// Whether everything that the proxy's own parts, and the class of its outbounds, depend on is the
    /// same as the last time.
    fn is_unaffected(&self, view: &MeshView, inputs: &ProxyInputs, entry: &Arc<DataplaneEntry>) -> bool {
        Arc::ptr_eq(&self.entry, entry)
            && self.inputs.is_same(inputs)
            && Arc::ptr_eq(&self.policies, view.policies())
            && Arc::ptr_eq(&self.vips, view.vips())
            && Arc::ptr_eq(&self.trusted_cas, view.trusted_cas())
            && is_same_list(view.of_kind(registry::MESH_OPEN_TELEMETRY_BACKEND), &self.otel_backends)
            && !self.depends_on_others
            && !self.own.is_whole
    }

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
            && !proxy.depends_on_others();
        let has_same_names = Arc::ptr_eq(&self.vips, proxy.view.vips()) && self.called.hash == proxy.outbounds.hash;
        let has_same_secrets = is_same_proxy
            && is_same(self.inputs.identity.as_ref(), proxy.inputs.identity.as_ref())
            && Arc::ptr_eq(&self.trusted_cas, proxy.view.trusted_cas());
        OwnParts {
            is_whole: false,
            inbounds: self.own.inbounds.clone().filter(|_| has_same_inbounds),
            surroundings: self
                .own
                .surroundings
                .clone()
                .filter(|part| has_same_surroundings && !self.own.is_whole && (has_same_names || !part.has_names)),
            names: self.own.names.clone().filter(|_| is_same_proxy && has_same_names),
            secrets: self.own.secrets.clone().filter(|_| has_same_secrets),
        }
    }
}

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

pub(super) fn is_same<T>(a: Option<&Arc<T>>, b: Option<&Arc<T>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

fn is_same_list<'a, T: 'a>(a: impl IntoIterator<Item = &'a Arc<T>>, b: &'a [Arc<T>]) -> bool {
    a.into_iter().map(Arc::as_ptr).eq(b.iter().map(Arc::as_ptr))
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
