//! Insights of dead proxies: subscriptions that nobody ended are closed, and dataplanes that have
//! been away for too long are removed.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;
use model::kinds::dataplane_insight::{DataplaneInsight, DiscoverySubscription};
use model::registry::{DATAPLANE, DATAPLANE_INSIGHT};
use model::{Key, Resource, Spec, Timestamp};

use super::pass::Pass;
use super::settings::DutySettings;

/// Signs of life of the control planes that hold subscriptions.
#[derive(Clone, Debug, Default)]
pub struct Pulses {
    /// The generation of each open subscription.
    generations: BTreeMap<(Key, String), u32>,
    /// When a subscription of a control plane instance was last seen to move, or to be new.
    seen: BTreeMap<String, Timestamp>,
}

impl Pulses {
    /// Looks at an open subscription at the time `now`.
    fn look(&mut self, insight: &Key, open: &DiscoverySubscription, now: Timestamp) {
        let place = (insight.clone(), open.id.clone());
        if self.generations.insert(place, open.generation) != Some(open.generation) {
            self.seen.insert(open.control_plane_instance_id.clone(), now);
        }
    }

    /// When its control plane was last seen to live.
    fn last(&self, open: &DiscoverySubscription) -> Timestamp {
        self.seen.get(&open.control_plane_instance_id).copied().unwrap_or(Timestamp::MIN)
    }
}

/// Closes subscriptions of a control plane none of whose subscriptions moved for the idle timeout: it is
/// gone. A living one moves some of them twice in that time, and closes itself what has ended.
pub fn close_dead(pass: &mut Pass, settings: &DutySettings, pulses: &mut Pulses) {
    let insights: Vec<_> = pass.state().of_kind(DATAPLANE_INSIGHT).cloned().collect();
    for resource in &insights {
        let open = resource.spec::<DataplaneInsight>().map_or(&[][..], |insight| &insight.subscriptions);
        open.iter().filter(|s| s.is_online()).for_each(|open| pulses.look(&resource.key, open, pass.now()));
    }
    let former = std::mem::take(&mut pulses.generations);
    for resource in &insights {
        let Some(insight) = resource.spec::<DataplaneInsight>() else { continue };
        let mut closed = insight.clone();
        let mut changed = false;
        for subscription in closed.subscriptions.iter_mut().filter(|s| s.is_online()) {
            let end = after(pulses.last(subscription), settings.dataplane_idle_timeout);
            if end <= pass.now() {
                subscription.disconnect_time = Some(pass.now().into());
                changed = true;
            } else {
                pass.wake_at(end);
                let place = (resource.key.clone(), subscription.id.clone());
                pulses.generations.extend(former.get(&place).map(|generation| (place, *generation)));
            }
        }
        if changed {
            write(pass, resource, closed);
        }
    }
}

/// Sees that proxies that came or left since the last pass are looked at in time.
pub fn watch(pass: &mut Pass, settings: &DutySettings, pulses: &mut Pulses) {
    for key in pass.focus().came.clone() {
        let Some(resource) = pass.state().get(&key).cloned() else { continue };
        let subscriptions = resource.spec::<DataplaneInsight>().map_or(&[][..], |insight| &insight.subscriptions);
        for open in subscriptions.iter().filter(|s| s.is_online()) {
            pulses.look(&key, open, pass.now());
            pass.wake_at(after(pass.now(), settings.dataplane_idle_timeout));
        }
    }
    if let Some(left) = pass.focus().left {
        pass.wake_at(after(left, settings.dataplane_cleanup_age));
    }
}

/// When the proxy of an insight left; `None` while it is there, and when it never was.
pub(super) fn left_at(insight: &Resource) -> Option<Timestamp> {
    let insight = insight.spec::<DataplaneInsight>().filter(|insight| !insight.is_online())?;
    Some(insight.last_subscription()?.disconnect_time?.0)
}

fn write(pass: &mut Pass, resource: &Resource, insight: DataplaneInsight) {
    match Spec::of(insight) {
        Ok(spec) => pass.put(resource.key.clone(), resource.meta.labels.clone(), spec, None),
        Err(error) => pass.fault(format!("{}: {error}", resource.key)),
    }
}

/// Removes dataplanes whose proxy left longer ago than the cleanup age. One that was never connected
/// is somebody's declaration and stays.
pub fn collect_garbage(pass: &mut Pass, settings: &DutySettings) {
    let insights: Vec<_> = pass.state().of_kind(DATAPLANE_INSIGHT).cloned().collect();
    for resource in insights {
        let Some(left) = left_at(&resource) else { continue };
        let end = after(left, settings.dataplane_cleanup_age);
        if end <= pass.now() {
            pass.delete(&Key::new(DATAPLANE, &resource.key.mesh, &resource.key.name));
        } else {
            pass.wake_at(end);
        }
    }
}

fn after(at: Timestamp, duration: Duration) -> Timestamp {
    SignedDuration::try_from(duration).ok().and_then(|d| at.checked_add(d).ok()).unwrap_or(Timestamp::MAX)
}
