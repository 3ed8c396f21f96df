//! From one view and a batch of changes to the next view, and to whom it concerns.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use imbl::OrdMap;
use model::kinds::dataplane::ListenerType;
use model::{Change, Key, Kri, Resource, registry};
use policy::Policy;
use policy::target_ref::service_kind;

use super::backing::{Backing, secrets_of};
use super::dataplanes::DataplaneEntry;
use super::destinations::{Destination, Details};
use super::identities::{identity_of, trusted_cas, zone_egresses};
use super::{MeshView, Touched};

pub(super) fn fold(before: &MeshView, changes: &[Change]) -> (MeshView, Touched) {
    let mut fold = Fold::new(before);
    for change in changes.iter().filter(|change| MeshView::holds(&before.mesh, &change.key)) {
        fold.apply(&change.key, change.after.as_ref());
    }
    fold.finish()
}

/// The next view while it is made, and what changed so far.
struct Fold<'a> {
    before: &'a MeshView,
    view: MeshView,
    touched: Touched,
    /// Destinations whose endpoints or identities must be looked at again.
    stale: BTreeSet<Key>,
    /// Destinations that look different to their callers, each as it was and as it is.
    changed: BTreeMap<Key, Vec<Arc<Destination>>>,
    /// Policies that changed, each as it was and as it is.
    policies: Vec<Arc<Policy>>,
    /// Destinations or policies changed in more than endpoints.
    has_new_epoch: bool,
    /// Zone proxies or identities changed, so that zone egresses may have.
    are_egresses_stale: bool,
}

impl<'a> Fold<'a> {
    fn new(before: &'a MeshView) -> Self {
        Self {
            before,
            view: before.clone(),
            touched: Touched::None,
            stale: BTreeSet::new(),
            changed: BTreeMap::new(),
            policies: Vec::new(),
            has_new_epoch: false,
            are_egresses_stale: false,
        }
    }

    fn apply(&mut self, key: &Key, after: Option<&Arc<Resource>>) {
        let stored = match after {
            Some(after) => self.view.resources.insert(key.clone(), Arc::clone(after)),
            None => self.view.resources.remove(key),
        };
        self.view.faults.remove(key);
        match key.kind {
            kind if kind == registry::DATAPLANE => self.dataplane(key, after),
            kind if kind.is_destination => self.destination(key, after, stored.as_ref()),
            kind if kind.is_policy => self.policy(key, after, stored.as_ref()),
            kind if kind == registry::MESH_IDENTITY => self.identity(key, after),
            kind if kind == registry::MESH_TRUST => self.trust(key, after),
            kind if kind == registry::MESH_ZONE_ADDRESS => self.zone_address(key, after, stored.as_ref()),
            kind if kind == registry::SECRET => self.secret(key),
            kind if kind == registry::MESH => self.mesh(after, stored.as_ref()),
            // An OpenTelemetry backend: any policy may name it.
            _ => self.touched = Touched::All,
        }
    }

    fn dataplane(&mut self, key: &Key, after: Option<&Arc<Resource>>) {
        let entry = after.and_then(|resource| match DataplaneEntry::read(resource) {
            Ok(entry) => Some(Arc::new(entry)),
            Err(why) => {
                self.view.faults.insert(key.clone(), why);
                None
            }
        });
        let gone = self.view.dataplanes.remove(&key.name);
        if let Some(entry) = &entry {
            self.view.dataplanes.put(Arc::clone(entry));
        }
        let is_same = match (&gone, &entry) {
            (Some(gone), Some(entry)) => gone.same(entry),
            (None, None) => true,
            _ => false,
        };
        if is_same {
            return;
        }
        self.touched.add(&key.name);
        for entry in [&gone, &entry].into_iter().flatten() {
            self.stale.extend(self.view.destinations.candidates(&key.name, &entry.labels).cloned());
            self.are_egresses_stale |= entry.spec.is_zone_proxy();
        }
        self.view.dataplanes.touch_direct_access(&mut self.touched);
    }

    fn destination(&mut self, key: &Key, after: Option<&Arc<Resource>>, stored: Option<&Arc<Resource>>) {
        let read = after.and_then(|resource| match Destination::read(resource) {
            Ok(destination) => Some(Arc::new(destination)),
            Err(why) => {
                self.view.faults.insert(key.clone(), why);
                None
            }
        });
        self.referable(key, after, stored);
        let gone = self.view.destinations.remove(key);
        if let Some(destination) = &read {
            self.view.destinations.put(Arc::clone(destination));
        }
        if gone == read {
            return;
        }
        self.view.vips = Arc::default();
        self.has_new_epoch = true;
        self.stale.insert(key.clone());
        for destination in [gone, read].into_iter().flatten() {
            self.stale.extend(self.view.destinations.with_member(&destination.kri).cloned());
            self.changed.entry(key.clone()).or_default().push(destination);
        }
    }

    /// What policies can refer to has changed, unless only the status did.
    fn referable(&mut self, key: &Key, after: Option<&Arc<Resource>>, stored: Option<&Arc<Resource>>) {
        if let (Some(after), Some(stored)) = (after, stored)
            && after.spec == stored.spec
            && after.meta.labels == stored.meta.labels
            && after.meta.creation_time == stored.meta.creation_time
        {
            return;
        }
        let mut destinations = self.view.policies.destinations().clone();
        match after {
            Some(after) => destinations.put(after),
            None => destinations.remove(key),
        }
        self.view.policies = Arc::new(self.view.policies.with_destinations(destinations));
    }

    fn policy(&mut self, key: &Key, after: Option<&Arc<Resource>>, stored: Option<&Arc<Resource>>) {
        if let (Some(after), Some(stored)) = (after, stored)
            && after.spec == stored.spec
            && after.meta.labels == stored.meta.labels
        {
            return;
        }
        let were_tags_used = self.view.are_kuma_tags_used();
        self.policies.extend(self.view.policies.get(key).cloned());
        self.view.policies = Arc::new(self.view.policies.with(key, after));
        self.policies.extend(self.view.policies.get(key).cloned());
        if key.kind == registry::MESH_HTTP_ROUTE {
            self.referable(key, after, stored);
        }
        if were_tags_used != self.view.are_kuma_tags_used() {
            self.touched = Touched::All;
        }
    }

    fn identity(&mut self, key: &Key, after: Option<&Arc<Resource>>) {
        let had_identities = !self.view.identities.is_empty();
        let gone = match after {
            Some(after) => self.view.identities.insert(Arc::clone(&key.name), Arc::clone(after)),
            None => self.view.identities.remove(&key.name),
        };
        if had_identities == self.view.identities.is_empty() {
            self.stale.extend(self.view.destinations.remote().cloned());
        }
        let is_same = gone.as_ref().is_some_and(|gone| {
            after.is_some_and(|after| {
                gone.spec == after.spec && gone.status == after.status && gone.meta.labels == after.meta.labels
            })
        });
        if is_same {
            return;
        }
        self.are_egresses_stale = true;
        // Who had it, and who has it now: both are among those that its selectors select.
        for entry in self.view.dataplanes.iter() {
            let has = |view: &MeshView| {
                identity_of(&view.identities, &entry.labels).is_some_and(|identity| identity.key == *key)
            };
            if has(self.before) || has(&self.view) {
                self.touched.add(entry.name());
            }
        }
    }

    fn trust(&mut self, key: &Key, after: Option<&Arc<Resource>>) {
        match after {
            Some(after) => self.view.trusts.insert(Arc::clone(&key.name), Arc::clone(after)),
            None => self.view.trusts.remove(&key.name),
        };
        let cas = trusted_cas(&self.view.trusts);
        if cas != *self.view.trusted_cas {
            self.view.trusted_cas = Arc::new(cas);
            self.touched = Touched::All;
        }
    }

    fn zone_address(&mut self, key: &Key, after: Option<&Arc<Resource>>, stored: Option<&Arc<Resource>>) {
        let zone_of = |resource: &Arc<Resource>| Arc::from(resource.label("kuma.io/zone").unwrap_or_default());
        if let Some(stored) = stored {
            let zone: Arc<str> = zone_of(stored);
            let mut addresses = self.view.zone_addresses.remove(&zone).unwrap_or_default();
            addresses.remove(&key.name);
            if !addresses.is_empty() {
                self.view.zone_addresses.insert(Arc::clone(&zone), addresses);
            }
            self.stale.extend(self.view.destinations.of_zone(&zone).cloned());
        }
        if let Some(after) = after {
            let zone: Arc<str> = zone_of(after);
            let addresses: &mut OrdMap<_, _> = self.view.zone_addresses.entry(Arc::clone(&zone)).or_default();
            addresses.insert(Arc::clone(&key.name), Arc::clone(after));
            self.stale.extend(self.view.destinations.of_zone(&zone).cloned());
        }
    }

    /// A secret matters to zone egresses that use it, and to who calls through them.
    fn secret(&mut self, key: &Key) {
        for destination in self.view.destinations.of_kind(&self.view.mesh, registry::MESH_EXTERNAL_SERVICE) {
            let Details::External(spec) = &destination.details else { continue };
            if secrets_of(spec).any(|name| *name == *key.name) {
                self.stale.insert(destination.key.clone());
                self.view.dataplanes.touch_zone_proxies(ListenerType::ZoneEgress, &mut self.touched);
            }
        }
    }

    fn mesh(&mut self, after: Option<&Arc<Resource>>, stored: Option<&Arc<Resource>>) {
        let is_same = match (after, stored) {
            (Some(after), Some(stored)) => after.spec == stored.spec && after.meta.labels == stored.meta.labels,
            (None, None) => true,
            _ => false,
        };
        if is_same {
            return;
        }
        self.touched = Touched::All;
        let mut destinations = self.view.policies.destinations().clone();
        match after {
            Some(after) => destinations.put(after),
            None => destinations.remove(&Key::global(registry::MESH, &self.view.mesh)),
        }
        self.view.policies = Arc::new(self.view.policies.with_destinations(destinations));
    }

    fn finish(mut self) -> (MeshView, Touched) {
        if self.are_egresses_stale {
            let proxies = self.view.dataplanes.zone_proxies();
            let egresses = zone_egresses(proxies, &self.view.identities, &self.view.settings);
            if egresses != *self.view.zone_egresses {
                self.view.zone_egresses = Arc::new(egresses);
                let external = self.view.destinations.of_kind(&self.view.mesh, registry::MESH_EXTERNAL_SERVICE);
                self.stale.extend(external.map(|destination| destination.key.clone()));
            }
        }
        self.back_again();
        self.has_new_epoch |= !Arc::ptr_eq(&self.before.policies, &self.view.policies);
        self.view.shared = self.before.shared.next(self.has_new_epoch);
        self.touch_callers();
        self.touch_policies();
        (self.view, self.touched)
    }

    /// Looks again at what stands behind stale destinations: first at all others, then at multi-zone
    /// services, which are made of them.
    fn back_again(&mut self) {
        let is_multi_zone = |key: &Key| key.kind == registry::MESH_MULTI_ZONE_SERVICE;
        let (mut multi_zone, services): (BTreeSet<Key>, BTreeSet<Key>) =
            std::mem::take(&mut self.stale).into_iter().partition(is_multi_zone);
        for key in &services {
            if self.back(key) {
                let destination = self.view.destinations.get(key).or_else(|| self.before.destinations.get(key));
                if let Some(destination) = destination {
                    multi_zone.extend(self.view.destinations.with_member(&destination.kri).cloned());
                }
            }
        }
        multi_zone.iter().for_each(|key| {
            self.back(key);
        });
    }

    /// Looks again at one destination; whether anything is different.
    fn back(&mut self, key: &Key) -> bool {
        let Some(destination) = self.view.destinations.get(key).cloned() else {
            return self.view.backings.remove(key).is_some();
        };
        let backing = self.view.back(&destination);
        if self.view.backings.get(key) == Some(&backing) {
            return false;
        }
        let clients_see = |backing: &Backing| backing.ports.iter().map(|port| port.client_hash).collect::<Vec<_>>();
        self.has_new_epoch |= self.view.backings.get(key).map(clients_see) != Some(clients_see(&backing));
        let backing = share(self.view.backings.get(key), backing);
        self.view.backings.insert(key.clone(), backing);
        self.changed.entry(key.clone()).or_default().push(destination);
        true
    }

    fn touch_callers(&mut self) {
        for destination in std::mem::take(&mut self.changed).into_values().flatten() {
            if self.touched == Touched::All {
                return;
            }
            for view in [self.before, &self.view] {
                view.dataplanes.touch_callers(destination.kri.kind, &destination.labels, &mut self.touched);
                for route in view.policies.routes_to(&destination.labels) {
                    view.dataplanes.touch_selected(route, &mut self.touched);
                }
            }
            let listener = match &destination.details {
                Details::External(_) => ListenerType::ZoneEgress,
                Details::Service { .. } | Details::MultiZone(_) => ListenerType::ZoneIngress,
            };
            self.view.dataplanes.touch_zone_proxies(listener, &mut self.touched);
        }
    }

    fn touch_policies(&mut self) {
        for policy in std::mem::take(&mut self.policies) {
            if self.touched == Touched::All {
                return;
            }
            let mut selected = Touched::None;
            self.view.dataplanes.touch_selected(&policy, &mut selected);
            if let Some(callers) = self.callers_of_targets(&policy) {
                selected = both(selected, callers);
            }
            self.touched = std::mem::take(&mut self.touched).or(selected);
        }
    }

    /// Who calls a destination that the policy is about; `None` when it is about more than
    /// destinations.
    fn callers_of_targets(&self, policy: &Policy) -> Option<Touched> {
        let frame = &policy.frame;
        if !frame.rules.is_empty() || frame.default.is_some() || policy.shadow {
            return None;
        }
        let mut callers = Touched::None;
        for item in &frame.to {
            let kind = service_kind(&item.target_ref.kind)?;
            let labels = item.target_ref.labels.clone().unwrap_or_default();
            for view in [self.before, &self.view] {
                for target in view.policies.destinations().select(kind, &labels) {
                    let Some(destination) = view.destinations.get(&target.resource.key) else { continue };
                    view.dataplanes.touch_callers(kind, &destination.labels, &mut callers);
                    // A zone proxy has chains for its destinations, whoever it calls itself.
                    view.dataplanes.touch_zone_proxies(ListenerType::ZoneEgress, &mut callers);
                    view.dataplanes.touch_zone_proxies(ListenerType::ZoneIngress, &mut callers);
                }
            }
        }
        Some(callers)
    }
}

/// Whom both concern.
fn both(a: Touched, b: Touched) -> Touched {
    match (a, b) {
        (Touched::None, _) | (_, Touched::None) => Touched::None,
        (Touched::All, other) | (other, Touched::All) => other,
        (Touched::Some(a), Touched::Some(b)) => {
            let names: BTreeSet<_> = a.intersection(&b).cloned().collect();
            if names.is_empty() { Touched::None } else { Touched::Some(names) }
        }
    }
}

/// The new backing, with the ports that did not change shared with the old one.
fn share(old: Option<&Backing>, mut new: Backing) -> Backing {
    let Some(old) = old else { return new };
    for port in &mut new.ports {
        let section: &Kri = &port.port.kri;
        if let Some(same) = old.port(&section.section).filter(|same| **same == *port) {
            *port = Arc::clone(same);
        }
    }
    new
}
