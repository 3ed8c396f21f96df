//! What one proxy should run: from the picture of its mesh and what it brings along, through
//! generators and policies, to encoded resources.
//!
//! [`generate`] never fails as a whole: what cannot be applied is reported beside what can. Whatever
//! several proxies have in common, or one has from view to view, is made and encoded once:
//!
//! - a proxy's *own* part (admin, passthrough, inbounds, DNS, zone listeners, secrets) is kept in its
//!   [`Memo`] until something that it depends on changes;
//! - its *outbound* part is shared by all proxies that have the same, and made of pieces that are
//!   cached from view to view;
//! - a policy that may edit anything (MeshProxyPatch) makes the whole configuration the proxy's own.

mod derived;
mod edit;
mod inputs;
mod memo;
mod outbound_part;
mod outbounds;
mod own;
mod shared;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{Kind, registry};
use policy::Rules;

pub(crate) use derived::redirection_of;
pub use inputs::{IdentitySource, ProxyInputs, WorkloadIdentity};
pub use memo::Memo;
pub use shared::Counters;
pub(crate) use shared::Shared;

use crate::policies::otel;
use crate::proxy_config::{Entry, PolicyFault, ProxyConfig, ResourceType, TypeConfig};
use crate::resource_set::ResourceSet;
use crate::view::{DataplaneEntry, MeshView};
use derived::Proxy;
use edit::Part;
use memo::OwnPart;
use shared::Count;

/// What a proxy should run; `None` when its Dataplane is not in the mesh. The same `Arc` as before when
/// nothing is different.
pub fn generate(view: &MeshView, inputs: &ProxyInputs, memo: &mut Memo) -> Option<Arc<ProxyConfig>> {
    let entry = view.dataplane(&inputs.dataplane)?;
    let rules = memo.rules(view, inputs, entry).unwrap_or_else(|| Arc::new(matched(view, inputs, entry)));
    let proxy = Proxy::derive(view, inputs, entry, Arc::clone(&rules));
    let is_patched = rules.get(&registry::MESH_PROXY_PATCH).is_some_and(|rules| rules.proxy.is_some());
    if is_patched {
        let mut faults = Vec::new();
        let mut set = proxy.own_resources(&mut faults);
        set.append(proxy.routed(&proxy.outbounds.list, view, &mut faults));
        let own = proxy.own_part(set, faults);
        return Some(memo.finish(&proxy, Arc::new(own), Arc::default()));
    }
    let own = memo.own(&proxy).unwrap_or_else(|| {
        let mut faults = Vec::new();
        let set = proxy.own_resources(&mut faults);
        Arc::new(proxy.own_part(set, faults))
    });
    let outbounds = proxy.outbound_part();
    Some(memo.finish(&proxy, own, outbounds))
}

/// What all policies say on a dataplane.
fn matched(view: &MeshView, inputs: &ProxyInputs, entry: &DataplaneEntry) -> BTreeMap<Kind, Rules> {
    view.shared.count(Count::Matched);
    let policies = view.policies();
    let rules = |kind| Some((kind, policies.book(kind)?.rules(&entry.subject, inputs.shadow)));
    policies.kinds().filter_map(rules).collect()
}

impl Proxy<'_> {
    /// Edits, checks and encodes what is the proxy's own.
    fn own_part(&self, mut set: ResourceSet, mut faults: Vec<PolicyFault>) -> OwnPart {
        self.view.shared.count(Count::Proxy);
        self.edit(Part::Own, &mut set, &mut faults);
        otel::publish(&self.rules, &self.traits(), &mut set);
        self.drop_invalid(&mut set, &mut faults);
        self.secrets(&mut set);
        let messages = set.finish();
        let mut part = OwnPart { faults, ..OwnPart::default() };
        let add = |config: &mut TypeConfig, resource: Arc<crate::EncodedResource>| {
            let version = resource.hash;
            config.insert(Arc::clone(&resource.name), Entry { resource, version });
        };
        for message in &messages.clusters {
            add(&mut part.clusters, self.encoded(ResourceType::Cluster, &message.name, message));
        }
        for message in &messages.endpoints {
            add(&mut part.endpoints, self.encoded(ResourceType::Endpoint, &message.cluster_name, &**message));
        }
        for message in &messages.listeners {
            add(&mut part.listeners, self.encoded(ResourceType::Listener, &message.name, message));
        }
        for message in &messages.secrets {
            add(&mut part.secrets, self.encoded(ResourceType::Secret, &message.name, message));
        }
        for (name, entry) in &mut part.endpoints {
            if let Some(cluster) = part.clusters.get(name) {
                entry.version = entry.version.mix(cluster.version);
            }
        }
        part
    }
}

impl MeshView {
    /// How much work was done so far for the proxies of the mesh.
    pub fn counters(&self) -> Counters {
        self.shared.counters()
    }
}
