//! What a control plane creates by itself, when it leads and finds it missing: keys, authorities,
//! its zone, the default mesh, hostname generators, the administrator's token, its own id.
//!
//! All that is missing is written in one transaction that demands that it is still missing.

mod keys;
mod missing;

pub(crate) use keys::Keys;
pub(crate) use missing::CLUSTER_ID;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use model::Key;
use model::registry::ZONE;
use store::{KindFilter, Leadership, Put, Revision, State, Store, Txn};
use tokio_util::sync::CancellationToken;

use crate::readiness::Part;
use crate::settings::{Mode, Settings};

/// Pause before a failed attempt is repeated.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// Ensures the default resources each time this replica becomes the leader, until `stop`. `ready` is
/// set once they are there; a replica that does not lead waits for the first data of the leader. Keys
/// that were begun with `ahead` are used first.
pub(crate) async fn run(
    store: Arc<dyn Store>,
    settings: Arc<Settings>,
    ahead: Keys,
    ready: Part,
    stop: CancellationToken,
) {
    let ahead = Arc::new(ahead);
    if settings.skip_tenant_resources {
        ready.set(true);
        return;
    }
    let mut leadership = store.leadership();
    let mut done_in_term = None;
    let mut changes = store.watch(None, KindFilter::All);
    loop {
        let now = *leadership.borrow_and_update();
        let failed = now.leads && done_in_term != Some(now.term) && {
            match ensure(&store, &settings, &ahead, now, &ready).await {
                Ok(created) => {
                    tracing::info!(created, term = now.term, "default resources are there");
                    done_in_term = Some(now.term);
                    false
                }
                Err(error) => {
                    tracing::warn!(error = format!("{error:#}"), "could not create default resources, will retry");
                    true
                }
            }
        };
        let follows_empty = !now.leads && store.snapshot().revision() == Revision(0);
        if !now.leads && !follows_empty {
            ready.set(true);
        }
        let next = async {
            if failed {
                tokio::time::sleep(RETRY_PAUSE).await;
                return true;
            }
            tokio::select! {
                changed = leadership.changed() => changed.is_ok(),
                event = changes.next(), if follows_empty => event.is_some(),
            }
        };
        if stop.run_until_cancelled(next).await != Some(true) {
            return;
        }
    }
}

/// Writes what is missing; how many resources that were. `ready` is set when nothing is missing that
/// somebody needs at once.
async fn ensure(
    store: &Arc<dyn Store>,
    settings: &Arc<Settings>,
    ahead: &Arc<Keys>,
    leadership: Leadership,
    ready: &Part,
) -> Result<usize> {
    let mut txn = Txn::new().require_term(leadership.term);
    for zone in other_zones(&store.snapshot(), &settings.mode) {
        tracing::info!(%zone, "zone is not this one and is deleted: it was renamed");
        txn = txn.delete(zone);
    }
    let needed = write(store, settings, ahead, txn, missing::that_is_needed).await?;
    ready.set(true);
    let txn = Txn::new().require_term(leadership.term);
    Ok(needed + write(store, settings, ahead, txn, missing::that_may_wait).await?)
}

/// Adds what is missing to a transaction and commits it; how many resources that were.
async fn write(
    store: &Arc<dyn Store>,
    settings: &Arc<Settings>,
    ahead: &Arc<Keys>,
    mut txn: Txn,
    missing: fn(&State, &Settings, &Arc<Keys>) -> Result<Vec<Put>>,
) -> Result<usize> {
    let (state, settings, ahead) = (store.snapshot(), Arc::clone(settings), Arc::clone(ahead));
    // An RSA key takes a good part of a second to make.
    let puts = tokio::task::spawn_blocking(move || missing(&state, &settings, &ahead)).await??;
    if puts.is_empty() && txn.is_empty() {
        return Ok(0);
    }
    let count = puts.len();
    for put in puts {
        txn = txn.require_absent(put.key.clone()).put_with(put);
    }
    store.commit(txn).await?;
    Ok(count)
}

/// Zones that a zone control plane holds beside its own: what it was called before.
fn other_zones(state: &State, mode: &Mode) -> Vec<Key> {
    match mode {
        Mode::Global => Vec::new(),
        Mode::Zone { name, .. } => {
            state.of_kind(ZONE).map(|zone| zone.key.clone()).filter(|key| *key.name != **name).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use model::registry::{GLOBAL_SECRET, HOSTNAME_GENERATOR, MESH, MESH_TIMEOUT, SECRET};
    use store::MemoryStore;

    use super::*;
    use crate::settings::load;

    async fn ensured(variables: &'static [(&'static str, &'static str)]) -> (Arc<dyn Store>, Arc<Settings>) {
        let variable = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        let settings = Arc::new(load(None, &variable).unwrap().settings);
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        ensure(&store, &settings, &Arc::default(), Leadership { term: 1, leads: true }, &part()).await.unwrap();
        (store, settings)
    }

    fn part() -> Part {
        crate::readiness::Readiness::default().register("default resources")
    }

    fn names(state: &State, kind: model::Kind) -> BTreeSet<String> {
        state.of_kind(kind).map(|r| r.key.name.to_string()).collect()
    }

    #[tokio::test]
    async fn a_zone_of_its_own_starts_with_all_that_it_needs() {
        let (store, settings) = ensured(&[]).await;
        let state = store.snapshot();
        assert_eq!(names(&state, MESH), ["default".to_owned()].into());
        assert_eq!(names(&state, ZONE), ["default".to_owned()].into());
        assert_eq!(names(&state, SECRET), ["dataplane-token-signing-key-default-1".to_owned()].into());
        assert_eq!(
            names(&state, GLOBAL_SECRET),
            [
                "admin-user-token",
                "envoy-admin-ca",
                "inter-cp-ca",
                "user-token-signing-key-1",
                "zone-token-signing-key-1"
            ]
            .map(str::to_owned)
            .into()
        );
        assert_eq!(state.count(MESH_TIMEOUT), 2);
        assert_eq!(state.count(HOSTNAME_GENERATOR), 2);
        let again =
            ensure(&store, &settings, &Arc::default(), Leadership { term: 1, leads: true }, &part()).await.unwrap();
        assert_eq!(again, 0, "nothing is created twice");
    }

    #[tokio::test]
    async fn a_federated_zone_waits_for_meshes_from_global() {
        let (store, _) = ensured(&[("KUMA_MULTIZONE_ZONE_GLOBAL_ADDRESS", "grpcs://global:5685")]).await;
        let state = store.snapshot();
        assert_eq!(state.count(MESH), 0);
        assert!(!names(&state, GLOBAL_SECRET).contains("zone-token-signing-key-1"));
        assert!(names(&state, GLOBAL_SECRET).contains("user-token-signing-key-1"));
    }

    #[tokio::test]
    async fn global_has_no_zone_and_no_envoy_authority() {
        let (store, _) = ensured(&[("KUMA_MODE", "global")]).await;
        let state = store.snapshot();
        assert_eq!((state.count(ZONE), state.count(MESH), state.count(HOSTNAME_GENERATOR)), (0, 1, 5));
        assert!(!names(&state, GLOBAL_SECRET).contains("envoy-admin-ca"));
    }

    #[tokio::test]
    async fn a_renamed_zone_forgets_its_former_name() {
        let (store, _) = ensured(&[]).await;
        let variable = |name: &str| (name == "KUMA_MULTIZONE_ZONE_NAME").then(|| "east".to_owned());
        let settings = Arc::new(load(None, &variable).unwrap().settings);
        ensure(&store, &settings, &Arc::default(), Leadership { term: 1, leads: true }, &part()).await.unwrap();
        assert_eq!(names(&store.snapshot(), ZONE), ["east".to_owned()].into());
    }

    #[tokio::test]
    async fn the_mesh_that_nobody_wants_is_not_made() {
        let (store, _) = ensured(&[("KUMA_DEFAULTS_SKIP_MESH_CREATION", "true")]).await;
        assert_eq!(store.snapshot().count(MESH), 0);
    }

    #[tokio::test]
    async fn ready_comes_after_the_default_resources() {
        let settings = Arc::new(load(None, &|_| None).unwrap().settings);
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let mut readiness = crate::readiness::Readiness::default();
        let part = readiness.register("default resources");
        let stop = CancellationToken::new();
        let running = tokio::spawn(run(Arc::clone(&store), settings, Keys::default(), part, stop.clone()));
        let ready = async {
            while !readiness.missing().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), ready).await.unwrap();
        let state = store.snapshot();
        assert_eq!(names(&state, MESH), ["default".to_owned()].into());
        assert_eq!(state.count(SECRET), 1);
        stop.cancel();
        running.await.unwrap();
    }
}
