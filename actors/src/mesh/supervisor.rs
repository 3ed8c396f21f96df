//! One actor for each mesh that is stored: started, stopped, and started again after a panic.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::registry::MESH;
use store::{Event, KindFilter, State};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::actor::{MeshActor, MeshDeleted};
use crate::shared::Shared;

/// Pause before an actor that panicked reads the store anew; it doubles up to the second one.
const RESTART_PAUSE: Duration = Duration::from_millis(100);
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(10);

/// Keeps one actor for each stored mesh until the control plane drains.
pub(crate) async fn supervise(shared: Arc<Shared>) {
    let mut meshes: BTreeMap<Arc<str>, CancellationToken> = BTreeMap::new();
    let mut watch = shared.store.watch(None, KindFilter::Only(vec![MESH]));
    loop {
        let event = tokio::select! {
            event = watch.next() => event,
            () = shared.draining.cancelled() => None,
        };
        match event {
            None => break,
            Some(Event::Snapshot(state)) => {
                meshes.retain(|mesh, deleted| keep_if(is_stored(&state, mesh), deleted));
                for mesh in state.of_kind(MESH) {
                    start(&shared, &mut meshes, &mesh.key.name);
                }
            }
            Some(Event::Batch(batch)) => {
                for change in batch.changes.iter().filter(|change| change.key.kind == MESH) {
                    if change.after.is_some() {
                        start(&shared, &mut meshes, &change.key.name);
                    } else if let Some(deleted) = meshes.remove(&change.key.name) {
                        deleted.cancel();
                    }
                }
            }
        }
    }
    meshes.values().for_each(CancellationToken::cancel);
}

fn is_stored(state: &State, mesh: &str) -> bool {
    state.get(&model::Key::global(MESH, mesh)).is_some()
}

fn keep_if(stored: bool, deleted: &CancellationToken) -> bool {
    if !stored {
        deleted.cancel();
    }
    stored
}

fn start(shared: &Arc<Shared>, meshes: &mut BTreeMap<Arc<str>, CancellationToken>, mesh: &Arc<str>) {
    meshes.entry(Arc::clone(mesh)).or_insert_with(|| {
        let deleted = CancellationToken::new();
        shared.spawn(keep_running(Arc::clone(shared), Arc::clone(mesh), deleted.clone()));
        deleted
    });
}

async fn keep_running(shared: Arc<Shared>, mesh: Arc<str>, deleted: CancellationToken) {
    let mut pause = RESTART_PAUSE;
    info!(%mesh, "mesh");
    loop {
        let (actor, ended) = MeshActor::start(&shared, &mesh);
        tokio::select! {
            _ = ended => {}
            () = deleted.cancelled() => {
                actor.do_send(MeshDeleted);
                return;
            }
        }
        metrics::counter!(crate::metrics::PANICS, "actor" => "mesh").increment(1);
        error!(%mesh, "the actor of the mesh panicked, it reads the store anew");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RESTART_PAUSE_MAX);
    }
}
