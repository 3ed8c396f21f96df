//! What control planes of one group tell each other beside what their stores do.

use std::time::Duration;

use actors::ControlPlane;
use api::group::Latency;
use raft::RaftStore;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::balance::{self, Balancer};
use crate::connections::Connections;
use crate::version::VERSION;

/// How often it is told anew, and looked whether proxies should go elsewhere.
const INTERVAL: Duration = Duration::from_secs(2);

/// The note of one control plane.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Note {
    /// Its version.
    pub(crate) version: String,
    /// How many proxies are connected to it; `None` when it serves none.
    pub(crate) proxies: Option<usize>,
    /// From the commit of a change to the answer of a proxy of it.
    pub(crate) propagation: Latency,
}

impl Note {
    /// The note of this control plane.
    fn of(proxies: Option<&ControlPlane>) -> Self {
        let recent = proxies.map(ControlPlane::recent_propagation).unwrap_or_default();
        Self {
            version: VERSION.to_owned(),
            proxies: proxies.map(ControlPlane::proxy_count),
            propagation: Latency::new(recent.p50, recent.p99),
        }
    }

    /// Reads the note of another one; a version that tells less has the rest empty.
    pub(crate) fn read(note: &serde_json::Value) -> Self {
        Self::deserialize(note).unwrap_or_default()
    }
}

/// Tells the others how this control plane does and, when `spreads`, sends proxies to those that
/// have fewer; until `stop`.
pub(crate) async fn run(
    replica: RaftStore,
    proxies: Option<ControlPlane>,
    connections: Connections,
    spreads: bool,
    stop: CancellationToken,
) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut balancer = Balancer::default();
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let note = Note::of(proxies.as_ref());
        let own = note.proxies;
        match serde_json::to_value(&note) {
            Ok(note) => replica.set_note(note),
            Err(error) => tracing::warn!(%error, "the others are not told how this control plane does"),
        }
        let Some(own) = own.filter(|own| spreads && *own > balance::NEVER_FEWER) else { continue };
        let id = replica.vitals().id;
        let pulses = replica.pulses().await;
        let answers = pulses.iter().filter(|pulse| pulse.id != id).filter_map(|pulse| pulse.vitals.as_ref().ok());
        let others: Vec<_> = answers.filter_map(|vitals| Note::read(&vitals.note).proxies).collect();
        let closed = connections.close_of_proxies(balancer.step(own, &others));
        if closed > 0 {
            tracing::info!(closed, own, ?others, "proxies are sent to replicas that have fewer");
            metrics::counter!("xds_streams_moved_total").increment(closed as u64);
        }
    }
}
