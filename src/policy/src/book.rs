//! The rules of all dataplanes of a mesh for one kind of policy.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use model::Kind;

use crate::conf::Conf;
use crate::destinations::Destinations;
use crate::inbound::InboundRules;
use crate::merge::{merge, strategy};
use crate::outbound::{ResolvedSet, ResourceRules};
use crate::policy::{Fault, Policy};
use crate::selection::{InboundKey, Subject};
use crate::set::{PolicySet, Shadow};

/// The conf of a policy kind that has one for the whole proxy.
#[derive(Debug)]
pub struct ProxyConf {
    /// The merged conf.
    pub conf: Conf,
    /// The policies that contribute, low to high.
    pub origin: Vec<Arc<Policy>>,
}

/// What all policies of a kind say on one dataplane. The parts are shared with every dataplane that
/// the same policies select.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The kind of the policies.
    pub kind: Kind,
    /// The policies that select the dataplane, low to high.
    pub policies: Arc<Vec<Arc<Policy>>>,
    /// Rules by inbound; an inbound that no policy selects is absent.
    pub inbound: BTreeMap<InboundKey, Arc<InboundRules>>,
    /// Rules by destination.
    pub to: Arc<ResourceRules>,
    /// The conf for the whole proxy, when any policy states one.
    pub proxy: Option<Arc<ProxyConf>>,
}

impl Rules {
    /// The rules of a dataplane that no policy of this kind selects.
    pub fn none(kind: Kind) -> Self {
        Self { kind, policies: Arc::default(), inbound: BTreeMap::new(), to: Arc::default(), proxy: None }
    }

    /// The rules of an inbound.
    pub fn inbound(&self, address: &str, port: u32) -> Option<&InboundRules> {
        self.inbound.get(&InboundKey { address: address.into(), port }).map(|rules| &**rules)
    }
}

/// The parts of [`Rules`] that depend on nothing but which policies select a dataplane.
#[derive(Clone, Debug)]
struct Parts {
    policies: Arc<Vec<Arc<Policy>>>,
    to: Arc<ResourceRules>,
    proxy: Option<Arc<ProxyConf>>,
}

/// Makes [`Rules`] for dataplanes, and remembers them: dataplanes that the same policies select get
/// the same rules. A book is made for one picture of a mesh and serves all threads that work on it.
#[derive(Debug)]
pub struct RuleBook {
    set: Arc<PolicySet>,
    destinations: Arc<Destinations>,
    resolved: ResolvedSet,
    parts: Mutex<BTreeMap<Vec<u32>, Parts>>,
    inbound: Mutex<BTreeMap<Vec<u32>, Arc<InboundRules>>>,
}

impl RuleBook {
    /// A book for these policies and these destinations.
    pub fn new(set: Arc<PolicySet>, destinations: Arc<Destinations>) -> Self {
        let resolved = ResolvedSet::new(&set, &destinations);
        Self { set, destinations, resolved, parts: Mutex::default(), inbound: Mutex::default() }
    }

    /// The policies.
    pub fn set(&self) -> &Arc<PolicySet> {
        &self.set
    }

    /// Policies that could not be read, and so have no effect.
    pub fn faults(&self) -> &[Fault] {
        self.set.faults()
    }

    /// The rules of a dataplane.
    pub fn rules(&self, subject: &Subject, shadow: Shadow) -> Rules {
        let matched = self.set.match_dataplane(subject, shadow);
        let inbound = matched.inbounds.into_iter().map(|(key, policies)| (key, self.inbound_rules(policies))).collect();
        let Parts { policies, to, proxy } = self.parts(matched.policies);
        Rules { kind: self.set.kind(), policies, inbound, to, proxy }
    }

    fn parts(&self, matched: Vec<u32>) -> Parts {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = parts.get(&matched) {
            return known.clone();
        }
        let policies: Vec<_> =
            matched.iter().filter_map(|index| self.set.policies().get(*index as usize)).cloned().collect();
        let made = Parts {
            to: Arc::new(self.resolved.rules(&self.set, &self.destinations, &matched)),
            proxy: proxy_conf(self.set.kind(), &policies).map(Arc::new),
            policies: Arc::new(policies),
        };
        parts.insert(matched, made.clone());
        made
    }

    fn inbound_rules(&self, policies: Vec<u32>) -> Arc<InboundRules> {
        let mut known = self.inbound.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(rules) = known.get(&policies) {
            return Arc::clone(rules);
        }
        let rules = Arc::new(InboundRules::build(&self.set, &policies));
        known.insert(policies, Arc::clone(&rules));
        rules
    }
}

/// The merged `default` of policies, low to high; `None` when none has one.
fn proxy_conf(kind: Kind, policies: &[Arc<Policy>]) -> Option<ProxyConf> {
    let origin: Vec<_> = policies.iter().filter(|policy| policy.frame.default.is_some()).cloned().collect();
    if origin.is_empty() {
        return None;
    }
    let confs = origin.iter().filter_map(|policy| policy.frame.default.as_ref());
    Some(ProxyConf { conf: Conf::new(merge(strategy(kind), confs)), origin })
}
