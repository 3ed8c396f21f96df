//! What a proxy's configuration was last made from.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use model::Kind;
use policy::Rules;

use super::derived::Proxy;
use super::outbound_part::OutboundPart;
use super::{ProxyInputs, assemble};
use crate::proxy_config::{ContentHash, PolicyFault, ProxyConfig, TypeConfig};
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
    outbounds_hash: ContentHash,
    rules: Arc<BTreeMap<Kind, Rules>>,
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
            && Arc::ptr_eq(&last.rules, &proxy.rules)
            && Arc::ptr_eq(&last.trusted_cas, proxy.view.trusted_cas())
            && Arc::ptr_eq(&last.vips, proxy.view.vips())
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
        let config = match &self.last {
            Some(last) if Arc::ptr_eq(&last.own, &own) && Arc::ptr_eq(&last.outbounds, &outbounds) => {
                Arc::clone(&last.config)
            }
            Some(last) => {
                let config = assemble(&own, &outbounds, Some(&last.config));
                if config == *last.config { Arc::clone(&last.config) } else { Arc::new(config) }
            }
            None => Arc::new(assemble(&own, &outbounds, None)),
        };
        self.last = Some(Last {
            inputs: proxy.inputs.clone(),
            entry: Arc::clone(proxy.entry),
            policies: Arc::clone(proxy.view.policies()),
            trusted_cas: Arc::clone(proxy.view.trusted_cas()),
            vips: Arc::clone(proxy.view.vips()),
            outbounds_hash: proxy.outbounds.hash,
            rules: Arc::clone(&proxy.rules),
            own,
            outbounds,
            config: Arc::clone(&config),
        });
        config
    }
}

impl Proxy<'_> {
    /// Whether its own part looks at other dataplanes or at destinations that it does not call.
    fn depends_on_others(&self) -> bool {
        let redirection = self.entry.spec.networking.as_ref().and_then(|n| n.transparent_proxying.as_ref());
        !self.zone_listeners.is_empty() || redirection.is_some_and(|r| !r.direct_access_services.is_empty())
    }
}
