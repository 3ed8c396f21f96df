//! Metrics of the control plane as a whole: who it is, whether it leads, how much it holds.

use std::sync::Arc;
use std::time::Duration;

use metrics::gauge;
use model::registry::{CONFIG, KINDS};
use model::{Key, kinds::config::Config};
use store::Store;
use tokio_util::sync::CancellationToken;

use crate::defaults::CLUSTER_ID;
use crate::version::VERSION;

/// How often resources are counted.
const COUNT_INTERVAL: Duration = Duration::from_secs(60);

/// Keeps the metrics up to date until `stop`.
pub(crate) async fn run(store: Arc<dyn Store>, instance_id: String, stop: CancellationToken) {
    let mut leadership = store.leadership();
    let mut tick = tokio::time::interval(COUNT_INTERVAL);
    loop {
        gauge!("leader").set(f64::from(u8::from(leadership.borrow_and_update().leads)));
        let state = store.snapshot();
        for kind in KINDS {
            // Counts are far below the range in which a double is not exact.
            gauge!("resources_count", "resource_type" => kind.name, "tenant" => "").set(state.count(*kind) as f64);
        }
        if let Some(cluster_id) = state.get(&Key::global(CONFIG, CLUSTER_ID)).and_then(|r| r.spec::<Config>()) {
            let labels = [
                ("product", "Kuma".to_owned()),
                ("version", VERSION.to_owned()),
                ("instance_id", instance_id.clone()),
                ("cluster_id", cluster_id.config.clone()),
            ];
            gauge!("cp_info", &labels).set(1.0);
        }
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
            changed = leadership.changed() => if changed.is_err() { return },
        }
    }
}
