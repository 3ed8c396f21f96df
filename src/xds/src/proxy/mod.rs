//! What one proxy should run: from the picture of its mesh and what it brings along, through
//! generators and policies, to encoded resources.
//!
//! [`generate`] never fails as a whole: what cannot be applied is reported beside what can. Whatever
//! several proxies have in common, or one has from view to view, is made and encoded once:
//!
//! - what is a proxy's *own* is kept in its [`Memo`], in parts: its inbounds, its surroundings (admin,
//!   passthrough, zone listeners), the names of its destinations and its secrets, each until something
//!   that it depends on changes;
//! - its *outbound* part is shared by all proxies that have the same, and made of pieces that are
//!   cached from view to view;
//! - a policy that may edit anything (MeshProxyPatch) makes the whole configuration the proxy's own.

mod derived;
mod edit;
mod inbound_part;
mod inputs;
mod memo;
mod outbound_part;
mod outbounds;
mod own;
mod parts;
mod shared;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use model::registry;

pub(crate) use derived::redirection_of;
pub use inputs::{IdentitySource, ProxyInputs, WorkloadIdentity};
pub use memo::Memo;
pub use shared::Counters;
pub(crate) use shared::Shared;

use crate::names::DYNAMIC_CONFIG;
use crate::policies::otel;
use crate::proxy_config::{PolicyFault, ProxyConfig, ResourceType};
use crate::resource_set::ResourceSet;
use crate::view::MeshView;
use derived::Proxy;
use edit::Part;
use parts::{OwnPart, OwnParts};
use shared::Count;

/// What a proxy should run; `None` when its Dataplane is not in the mesh. The same `Arc` as before when
/// nothing is different.
pub fn generate(view: &MeshView, inputs: &ProxyInputs, memo: &mut Memo) -> Option<Arc<ProxyConfig>> {
    let entry = view.dataplane(&inputs.dataplane)?;
    if let Some(config) = memo.follow(view, inputs, entry) {
        return Some(config);
    }
    let rules = memo.rules(view, inputs, entry);
    let proxy = Proxy::derive(view, inputs, entry, Arc::clone(&rules), memo.outbounds(view, inputs, entry));
    let said = memo.rules_hashes(&proxy);
    let is_patched = rules.get(&registry::MESH_PROXY_PATCH).is_some_and(|rules| rules.proxy.is_some());
    if is_patched {
        return Some(memo.finish(&proxy, said, OwnParts::whole(proxy.whole_part()), Default::default()));
    }
    let own = memo.own(&proxy, said);
    let outbounds = proxy.outbound_part();
    Some(memo.finish(&proxy, said, own, outbounds))
}

impl Proxy<'_> {
    /// Everything in one: policies may edit any of it.
    fn whole_part(&self) -> OwnPart {
        let mut faults = Vec::new();
        let mut set = self.surrounding_resources(&mut faults);
        self.dns(&mut set);
        set.append(self.inbound_resources());
        set.append(self.routed(&self.outbounds.list, self.view, &mut faults));
        self.view.shared.count(Count::Proxy);
        self.finished(Part::Whole, set, faults)
    }

    /// Names are left out where they can be shared: that is, where no policy has documents beside them.
    fn surrounding_part(&self) -> OwnPart {
        self.view.shared.count(Count::Proxy);
        let mut faults = Vec::new();
        let set = self.surrounding_resources(&mut faults);
        let (set, faults) = self.edited(Part::Surroundings, set, faults);
        if !set.listeners.contains_key(DYNAMIC_CONFIG) {
            return self.encoded_part(set, faults);
        }
        let mut faults = Vec::new();
        let mut set = self.surrounding_resources(&mut faults);
        self.dns(&mut set);
        self.finished(Part::Surroundings, set, faults).with_names()
    }

    /// The names of its destinations, shared with every proxy of the view that has the same; `None` when
    /// it does not ask for names.
    fn names_part(&self) -> Option<Arc<OwnPart>> {
        let key = self.names_class()?;
        let part = self.view.shared.names(key, || {
            self.view.shared.count(Count::Names);
            let mut set = ResourceSet::new();
            self.dns(&mut set);
            self.encoded_part(set, Vec::new())
        });
        Some(part)
    }

    fn secret_part(&self) -> OwnPart {
        let mut set = ResourceSet::new();
        self.secrets(&mut set);
        self.encoded_part(set, Vec::new())
    }

    /// Lets policies edit a part, checks and encodes it.
    fn finished(&self, part: Part, set: ResourceSet, faults: Vec<PolicyFault>) -> OwnPart {
        let (set, faults) = self.edited(part, set, faults);
        self.encoded_part(set, faults)
    }

    fn edited(
        &self,
        part: Part,
        mut set: ResourceSet,
        mut faults: Vec<PolicyFault>,
    ) -> (ResourceSet, Vec<PolicyFault>) {
        self.edit(part, &mut set, &mut faults);
        if part != Part::Inbounds {
            otel::publish(&self.rules, &self.traits(), &mut set);
        }
        self.drop_invalid(&mut set, &mut faults);
        if part == Part::Whole {
            self.secrets(&mut set);
        }
        (set, faults)
    }

    fn encoded_part(&self, set: ResourceSet, faults: Vec<PolicyFault>) -> OwnPart {
        let messages = set.finish();
        let mut resources = Vec::new();
        for message in &messages.clusters {
            resources.push(self.encoded(ResourceType::Cluster, &message.name, message));
        }
        for message in &messages.endpoints {
            resources.push(self.encoded(ResourceType::Endpoint, &message.cluster_name, &**message));
        }
        for message in &messages.listeners {
            resources.push(self.encoded(ResourceType::Listener, &message.name, message));
        }
        for message in &messages.secrets {
            resources.push(self.encoded(ResourceType::Secret, &message.name, message));
        }
        OwnPart::new(resources, faults)
    }
}

impl MeshView {
    /// How much work was done so far for the proxies of the mesh.
    pub fn counters(&self) -> Counters {
        self.shared.counters()
    }
}
