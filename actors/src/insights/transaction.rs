//! What streams change in the store.

use std::collections::BTreeMap;

use model::kinds::dataplane_insight::DataplaneInsight;
use model::{Key, Labels, Spec};
use store::{State, Txn};
use tracing::debug;

use super::Connection;

/// What changes in the store. A Dataplane that is gone has no insight.
pub(super) fn transaction(state: &State, batch: &[Connection]) -> Txn {
    let mut insights: BTreeMap<Key, (DataplaneInsight, &Connection)> = BTreeMap::new();
    for connection in batch.iter().filter(|connection| state.get(&connection.id.dataplane()).is_some()) {
        let key = connection.id.insight();
        let stored = || state.get(&key).and_then(|stored| stored.spec::<DataplaneInsight>()).cloned();
        let (insight, _) = insights.entry(key.clone()).or_insert_with(|| (stored().unwrap_or_default(), connection));
        connection.merge_into(insight);
    }
    let mut txn = Txn::new();
    for (key, (insight, connection)) in insights {
        let spec = match Spec::of(insight) {
            Ok(spec) => spec,
            Err(error) => {
                debug!(proxy = %connection.id, %error, "insight has no JSON form");
                continue;
            }
        };
        let stored = state.get(&key);
        if stored.is_some_and(|stored| stored.spec == spec) {
            metrics::counter!(crate::metrics::INSIGHT_WRITES, "result" => "equal").increment(1);
            continue;
        }
        txn = match stored {
            Some(stored) => txn.require_version(key.clone(), stored.meta.version),
            None => txn.require_absent(key.clone()),
        };
        let labels = stored.map(|stored| stored.meta.labels.clone()).unwrap_or_default();
        txn = txn.put_owned(key, labels as Labels, spec, connection.id.dataplane());
    }
    txn
}
